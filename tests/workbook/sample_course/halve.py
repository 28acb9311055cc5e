"""The exercise of the sample lesson: what checks/NAME.py holds of a real one."""

from llama_course.workbook.authoring.starters import Task

TASK = Task(
    starter='''def halve(number):
    """Half of a number, fractions kept."""
    raise NotImplementedError''',
    solution='''def halve(number):
    """Half of a number, fractions kept."""
    return number / 2''',
    line="*Easy, about 10 minutes, core.* Needed for quarters.",
    mistakes=("whole-division", "rounded", "doubled"),
)
