"""The engine behind the course: the learner's folder, JupyterLab, the demo and the test runs."""
