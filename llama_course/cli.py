"""The command line: `llama-course COMMAND`. Each command is thin; the work is in the rooms.

Errors that a person can mend are one sentence on standard error and exit code 2. With
LLAMA_COURSE_DEBUG=1 the traceback is shown as well.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from llama_course.errors import CourseError, nearest

# Torch takes seconds to import, so each command imports what it needs: --help answers at once.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Build LLaMA, component by component, from a toy to the released checkpoint.",
)

Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes the best one.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16; auto keeps the file's.")]


@app.command()
def lab(
    browser: Annotated[
        bool, typer.Option(help="Open a browser, or only print the address.")
    ] = True,
    port: Annotated[int | None, typer.Option(help="The port to serve on.")] = None,
) -> None:
    """Open JupyterLab on your own folder, my_work/."""
    from llama_course.workbook.lab import open_lab

    raise typer.Exit(open_lab(browser=browser, port=port))


@app.command()
def demo(
    corpus: Annotated[str, typer.Option(help="python-docs or tiny-shakespeare.")] = "python-docs",
    seconds: Annotated[float, typer.Option(help="Seconds to train for.")] = 100.0,
    folder: Annotated[
        Path | None, typer.Option(help="Where the run is kept; my_work/runs/demo if left out.")
    ] = None,
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(help="Fixes the weights, the batches and the sample.")] = 0,
) -> None:
    """Train a tokenizer and a model of about 1M parameters; save, reload, generate."""
    from llama_course.workbook.demo import run_demo
    from llama_course.workbook.home import home

    folder = folder or home() / "runs" / "demo"
    run_demo(corpus, seconds=seconds, folder=folder, device=_device(device), seed=seed)


@app.command()
def doctor() -> None:
    """Say what this machine has, and which sizes and dtypes fit."""
    from rich.console import Console
    from rich.table import Table

    from llama_course.hardware import readable
    from llama_course.workbook import doctor as facts
    from llama_course.workbook.home import home

    console = Console(width=None if sys.stdout.isatty() else 100)
    for name, words in {**facts.versions(), **facts.machine(home())}.items():
        console.print(f"{name:22} {words}", highlight=False, soft_wrap=True, markup=False)
    table = Table(title=f"To run with {facts.CACHE_TOKENS} tokens of context, one sequence")
    for column in ("size", "dtype", "needs", "fits on"):
        table.add_column(column, justify="right" if column == "needs" else "left")
    for fit in facts.fits():
        table.add_row(
            fit.size, fit.dtype, readable(fit.need), ", ".join(fit.devices) or "no device here"
        )
    console.print(table)


@app.command()
def train(
    preset: Annotated[str, typer.Option(help="A named size, such as toy-1M.")] = "toy-1M",
    corpus: Annotated[str | None, typer.Option(help="A named corpus.")] = None,
    text: Annotated[Path | None, typer.Option(help="A text file of your own (UTF-8).")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the run is kept; my_work/runs/train if left out.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Pieces of the tokenizer trained.")] = 1024,
    tokenizer: Annotated[Path | None, typer.Option(help="Use this tokenizer.model.")] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 1000,
    batch_size: Annotated[int, typer.Option(help="Sequences a batch.")] = 16,
    seq_len: Annotated[int, typer.Option(help="Tokens a sequence.")] = 128,
    accumulation: Annotated[int, typer.Option(help="Batches a step.")] = 1,
    peak_lr: Annotated[float, typer.Option(help="Learning rate after the warm-up.")] = 3e-3,
    warmup_steps: Annotated[int, typer.Option(help="Steps of linear warm-up.")] = 50,
    eval_every: Annotated[int, typer.Option(help="Steps between evaluations.")] = 200,
    save_every: Annotated[int, typer.Option(help="Steps between saved states.")] = 200,
    dtype: Annotated[str, typer.Option(help="float32, or bfloat16 (autocast).")] = "float32",
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Fixes the weights and the order of the data.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last state.")] = False,
) -> None:
    """Train a model on a corpus; interrupt it with Ctrl-C and go on with --resume."""
    from llama_course.training import TrainConfig
    from llama_course.workbook.home import home
    from llama_course.workbook.train import run_training

    config = TrainConfig(
        steps=steps,
        batch_size=batch_size,
        seq_len=seq_len,
        accumulation=accumulation,
        peak_lr=peak_lr,
        warmup_steps=warmup_steps,
        eval_every=eval_every,
        save_every=save_every,
        dtype=_one_of("dtype", dtype, ("float32", "bfloat16")),
        seed=seed,
    )
    run_training(
        preset=preset,
        corpus=corpus,
        text=text,
        folder=folder or home() / "runs" / "train",
        vocab_size=vocab_size,
        tokenizer_path=tokenizer,
        config=config,
        device=_device(device),
        resume=resume,
    )


@app.command()
def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder, or a llama2.c file.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="The text to go on from.")] = "",
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", "-n")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Keep the k likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Keep this much probability.")] = 0.9,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End at this text; repeatable.")] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    max_seq_len: Annotated[
        int | None, typer.Option(help="Context, where the file is silent.")
    ] = None,
    mine: Annotated[
        bool, typer.Option("--mine", help="Run it with your own parts, where they are kept.")
    ] = False,
) -> None:
    """Go on from a prompt; the text streams as it is made."""
    from llama_course import generation
    from llama_course.checkpoints import load
    from llama_course.tokenizers import no_tokenizer_reason
    from llama_course.workbook.run_mine import load_with_mine

    fields: dict[str, Any] = {} if max_seq_len is None else {"max_seq_len": max_seq_len}
    where = _device(device)
    if mine:
        model, tokenizer, whose = load_with_mine(checkpoint, _dtype(dtype), where, **fields)
        print(whose, file=sys.stderr)
    else:
        model, tokenizer = load(checkpoint, dtype=_dtype(dtype), device=where, **fields)
    if tokenizer is None:
        raise CourseError(no_tokenizer_reason(checkpoint))
    pieces = generation.generate(
        model,
        tokenizer,
        prompt,
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop or (),
    )
    print(prompt, end="", flush=True)
    try:
        with _learners_code(mine):
            for piece in pieces:
                print(piece, end="", flush=True)
    finally:
        print()  # whatever is said next begins a line of its own


@contextmanager
def _learners_code(mine: bool) -> Iterator[None]:
    """What a learner's own parts raise is for the learner to mend."""
    try:
        yield
    except CourseError:
        raise
    except (Exception, SystemExit) as error:
        if not mine:
            raise
        from llama_course.parity import raised

        raise CourseError(
            f"Your code stopped: {raised(error)}; `llama-course compare CHECKPOINT mine` says "
            "which part differs first."
        ) from error


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="The reference: a checkpoint in any format.")],
    b: Annotated[str, typer.Argument(help="Another checkpoint, or: mine, A run by your code.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="A text to compare with.")] = "",
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16; auto keeps the files'.")
    ] = "auto",
    max_seq_len: Annotated[
        int | None, typer.Option(help="Context, where a file is silent.")
    ] = None,
) -> None:
    """Find the first component in which two models differ, and what that usually means.

    The exit code is 0 where they are equal within the tolerances that are printed, 1 where they
    differ, 2 where one of them cannot be read.
    """
    from llama_course.parity import first_divergence, side
    from llama_course.workbook.run_mine import compare_with_mine, prompt_ids

    fields: dict[str, Any] = {} if max_seq_len is None else {"max_seq_len": max_seq_len}
    if a == "mine" and not Path(a).exists():
        raise CourseError("Your code runs a checkpoint's weights: name that first, then mine.")
    tokens = prompt_ids(a, prompt, **fields) if prompt else None
    if b == "mine":
        found, whose = compare_with_mine(a, tokens, _dtype(dtype), **fields)
        print(whose, file=sys.stderr)
    else:
        found = first_divergence(side(a, fields), side(b, fields), tokens, dtype=_dtype(dtype))
    print(found)
    raise typer.Exit(0 if found.equal else 1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The checkpoint to read.")],
    target: Annotated[Path, typer.Argument(help="The folder to write; a new one.")],
    to: Annotated[str, typer.Option("--to", help="huggingface, meta or llama2c.")],
    dtype: Dtype = "auto",
    shards: Annotated[int, typer.Option(help="Files of a Meta checkpoint: 1, 2, 4 or 8.")] = 1,
    version: Annotated[int, typer.Option(help="llama2.c's version: 0, 1, or 2 (int8).")] = 0,
    drop: Annotated[
        list[str] | None, typer.Option(help="A config field that may be lost; repeatable.")
    ] = None,
    max_seq_len: Annotated[
        int | None, typer.Option(help="Context, where the file is silent.")
    ] = None,
) -> None:
    """Read a checkpoint in any known format and write it in another."""
    from llama_course.checkpoints import load, save

    fields: dict[str, Any] = {} if max_seq_len is None else {"max_seq_len": max_seq_len}
    model, tokenizer = load(source, dtype=_dtype(dtype), **fields)
    save(
        model,
        target,
        format=_one_of("--to", to, ("huggingface", "meta", "llama2c")),
        tokenizer=tokenizer,
        shards=shards,
        version=version,
        drop=tuple(drop or ()),
    )
    print(f"Wrote {target}")


@app.command()
def inspect(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, or a named size such as 7B.")],
) -> None:
    """Say what a checkpoint is (format, config, parameters, memory) without reading its weights."""
    from llama_course.workbook.describe import describe

    print(describe(checkpoint))


Lessons = Annotated[
    list[str] | None, typer.Argument(help="Numbers or names, such as 05; all if left out.")
]


@app.command()
def progress() -> None:
    """Say which exercises you have passed, and what is next."""
    from llama_course.workbook.progress import progress as passed

    print(passed())


@app.command()
def update() -> None:
    """Bring a new release into your own folder, cell by cell; your answers stay."""
    from llama_course.workbook.home import home
    from llama_course.workbook.update import report
    from llama_course.workbook.update import update as bring

    raise typer.Exit(report(bring(), home()))


@app.command()
def reset(lesson: Annotated[str, typer.Argument(help="The lesson, such as 04.")]) -> None:
    """Get a fresh copy of a lesson and its exercise; what you have is kept beside it."""
    from llama_course.workbook.home import home
    from llama_course.workbook.update import report
    from llama_course.workbook.update import reset as fresh

    raise typer.Exit(report(fresh(lesson), home()))


@app.command()
def build(
    lessons: Lessons = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what differs; execute nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Execute again what is unchanged.")
    ] = False,
) -> None:
    """For authors: make notebooks, exercises and solutions from lessons/."""
    from llama_course.workbook.build import report

    raise typer.Exit(report(lessons, check=check, force=force))


@app.command()
def lint(lessons: Lessons = None) -> None:
    """For authors: say what each lesson lacks."""
    from llama_course.workbook.lint import report

    raise typer.Exit(report(lessons))


@app.command()
def slides(
    lesson: Annotated[str, typer.Argument(help="The lesson, such as 05.")],
    target: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
) -> None:
    """For instructors: a deck of slides from a lesson."""
    from llama_course.workbook.slides import slides as deck

    print(f"Wrote {deck(lesson, target)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(
    context: typer.Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="The quick ones, within 3 minutes.")
    ] = False,
) -> None:
    """Run every test and every notebook; further arguments go to pytest."""
    from llama_course.workbook.run_tests import run_tests

    raise typer.Exit(run_tests(quick, context.args))


def main() -> None:
    """The console script: run a command, and turn errors into sentences and exit codes."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code: 0, 1 unforeseen, 2 for the user to mend."""
    debug = bool(os.environ.get("LLAMA_COURSE_DEBUG"))
    with warnings.catch_warnings():
        warnings.showwarning = _note
        try:
            code = app(arguments, standalone_mode=False, prog_name="llama-course")
            return code if isinstance(code, int) else 0
        except CourseError as error:
            return _say(f"llama-course: {error}", 2, debug)
        except typer.Exit as stop:
            return stop.exit_code
        except (KeyboardInterrupt, typer.Abort):
            return _say("llama-course: stopped.", 130, False)
        except BrokenPipeError:  # the reader of a pipe has gone: nobody is left to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        except Exception as error:
            show = getattr(error, "show", None)  # a wrong option: click words it itself
            if callable(show):
                show()
                return int(getattr(error, "exit_code", 2))
            words = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            return _say(
                f"llama-course: this should not happen ({words}); run it again with "
                "LLAMA_COURSE_DEBUG=1 to see where, and report it.",
                1,
                debug,
            )


def _say(words: str, code: int, traceback: bool) -> int:
    if traceback:
        import traceback as tracebacks

        tracebacks.print_exc()
    print(words, file=sys.stderr)
    return code


def _note(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, UserWarning):
        print(f"note: {message}", file=sys.stderr)


def _device(name: str) -> str:
    import torch

    from llama_course.hardware import best_device, devices

    if name == "auto":
        return best_device()
    known = [found for found, _, _ in devices()]
    try:
        torch.device(name)
        ok = any(found == name or found.split(":")[0] == name for found in known)
    except RuntimeError:
        ok = False
    if not ok:
        raise CourseError(f"This machine has no device {name!r}; it has {', '.join(known)}.")
    return name


def _dtype(name: str) -> Any:
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        return None
    return known[_one_of("dtype", name, tuple(known))]


def _one_of(what: str, value: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise CourseError(f"{what} cannot be {value!r}; {nearest(value, known)}")
    return value


if __name__ == "__main__":
    main()
