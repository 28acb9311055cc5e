"""Lesson 03, second part: the loss."""

from __future__ import annotations

import torch
from torch import Tensor

from llama_course.checks.exercise import (
    LOOSE,
    Case,
    Exercise,
    Hints,
    Mistake,
    Tolerance,
    apply,
    edit,
)
from llama_course.checks.scripts import calls, gradients, normal, shapes, spread_out
from llama_course.training import loss

STARTER = '''
def cross_entropy(logits: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """The mean surprise at the right tokens, in nats: -log(softmax(logits)[target]).

    logits: (..., vocab), float32, bfloat16 or float16; there may be no axis before the last.
    targets: (...), int64, the number of the right token at each place, or ignore_index.
    ignore_index: any whole number, a token's number too; -100 where it is not given.

    The result is one number: a float32 tensor of shape ().
    The softmax runs over the last axis, the vocabulary, and the logarithm is the natural one.
    The mean is over all places whose target is not ignore_index, and each of them counts once.
    A place that is ignored adds nothing, whatever its logits are, minus infinity among them.
    Where every place is ignored there is nothing to take a mean of: the result is nan.
    Everything is computed in float32, whatever the dtype of logits.
    It is right for all finite logits, also of 10,000 and -10,000: nothing overflows or underflows.
    A logit of minus infinity means probability 0: as the target it gives infinity, elsewhere it
    does no harm.
    logits and targets are not changed.
    Gradients flow to logits; for a place that is ignored they are zero.
    """
    raise NotImplementedError
'''

SOLUTION = """
def cross_entropy(logits: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    wide = logits.float()
    real = targets != ignore_index
    target = torch.where(real, targets, 0)  # any token: it will not count
    largest = wide.amax(dim=-1, keepdim=True)
    shifted = wide - largest  # exp is at most 1
    log_total = torch.exp(shifted).sum(dim=-1).log()
    chosen = shifted.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    nats = log_total - chosen
    return torch.where(real, nats, 0.0).sum() / real.sum()
"""

SURPRISE = "The mean surprise at the right tokens, in nats: -log(softmax(logits)[target])."
SHAPE = "The result is one number: a float32 tensor of shape ()."
AXIS = "The softmax runs over the last axis, the vocabulary, and the logarithm is the natural one."
MEAN = "The mean is over all places whose target is not ignore_index, and each of them counts once."
NOTHING = (
    "A place that is ignored adds nothing, whatever its logits are, minus infinity among them."
)
NUMBER = "ignore_index: any whole number, a token's number too; -100 where it is not given."
ALL = "Where every place is ignored there is nothing to take a mean of: the result is nan."
WIDE = "Everything is computed in float32, whatever the dtype of logits."
RANGE = (
    "It is right for all finite logits, also of 10,000 and -10,000: nothing overflows or "
    "underflows."
)
MINUS = "A logit of minus infinity means probability 0"
INPUTS = "logits and targets are not changed."
FLOW = "Gradients flow to logits; for a place that is ignored they are zero."

BF16, FP16, INF = torch.bfloat16, torch.float16, torch.inf
NEAR_1E4 = Tolerance(1e-5, 5e-3, "float32 numbers near 10,000 are 1e-3 apart")


def ids(*numbers: int) -> Tensor:
    """Targets."""
    return torch.tensor(numbers)


def logs(*rows: list[float]) -> Tensor:
    """Logits that are the logarithms of these numbers: softmax gives their shares."""
    return torch.tensor(rows).log()


# Rows of two batches with three, one and no ignored targets.
UNEVEN = torch.tensor([[3, -100, -100, -100], [0, 5, -100, 2], [1, 1, 4, 0]])
BIG = torch.tensor([[1e4, 0.0, -1e4], [-1e4, 0.0, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]])

CASES = (
    Case("One place, a row of places, a batch of rows: always one number", "shape", SHAPE,
         "a loss for each place",
         shapes("cross_entropy", (normal(5, seed=1), torch.tensor(2), -100),
                (normal(4, 5, seed=2), ids(0, 4, 1, 1), -100),
                (normal(2, 4, 5, seed=3), torch.zeros(2, 4).long(), -100))),
    Case("bfloat16 logits give a float32 number", "shape", SHAPE, "a result in bfloat16",
         shapes("cross_entropy", (normal(3, 5, seed=4, dtype=BF16), ids(0, 1, 2), -100))),
    Case("By hand: shares of 1/2, 1/4, 1/4, and the target has 1/4: ln 4", "example", SURPRISE,
         "a base of the logarithm, the sign, the probability itself",
         calls("cross_entropy", logs([2.0, 1.0, 1.0]), ids(1), -100),
         expect={"the result of cross_entropy": torch.tensor(1.386294)}),
    Case("By hand: ln 2 at one place and ln 8 at another, the mean is ln 4", "example", MEAN,
         "the sum, the largest, an exponential of the mean",
         calls("cross_entropy", logs([4.0, 2.0, 1.0, 1.0], [1.0, 4.0, 1.0, 2.0]), ids(0, 2), -100),
         expect={"the result of cross_entropy": torch.tensor(1.386294)}),
    Case("By hand: four places of which two are ignored, ln 2 and ln 4", "example", MEAN,
         "a mean that counts what is ignored",
         calls("cross_entropy", logs([1.0, 1.0], [1.0, 3.0], [3.0, 1.0], [9.0, 1.0]),
               ids(0, 0, -100, -100), -100),
         expect={"the result of cross_entropy": torch.tensor((0.693147 + 1.386294) / 2)}),
    Case("Equal logits are a blind guess: ln of the size of the vocabulary", "property", SURPRISE,
         "a softmax over another axis, a normaliser that is forgotten",
         calls("cross_entropy", torch.full((3, 16), 0.7), ids(0, 7, 15), -100)),
    Case("Adding a number to all logits of one place changes nothing", "property", AXIS,
         "a maximum or a sum that is shared between places",
         calls("cross_entropy", normal(4, 6, seed=5) + torch.tensor([[0.0], [5.0], [-9.0], [30.0]]),
               ids(5, 0, 3, 2), -100)),
    Case("As many places as tokens in the vocabulary", "property", AXIS,
         "a softmax over the places", calls("cross_entropy", normal(6, 6, seed=6, scale=2.0),
                                            ids(1, 0, 5, 3, 3, 2), -100)),
    Case("Rows with one, three and four real targets: each target counts once", "property", MEAN,
         "a mean for each row, and then the mean of those",
         calls("cross_entropy", normal(3, 4, 6, seed=7, scale=2.0), UNEVEN, -100)),
    Case("-100 is what is ignored where nothing is said", "property", NUMBER,
         "another default", calls("cross_entropy", normal(3, 6, seed=8), ids(2, -100, 4))),
    Case("Token 0 is ignored where ignore_index is 0", "property", NUMBER,
         "an ignore_index that is fixed at -100, or at negative numbers",
         calls("cross_entropy", normal(5, 6, seed=9, scale=2.0), ids(3, 0, 0, 5, 0), 0)),
    Case("An ignore_index beyond the vocabulary", "property", NUMBER,
         "an ignored number that is looked up",
         calls("cross_entropy", normal(4, 6, seed=10), ids(3, 50_000, 1, 50_000), 50_000)),
    Case("The reference's numbers in float32", "float32", SURPRISE, "anything else",
         calls("cross_entropy", normal(2, 7, 50, seed=11, scale=3.0),
               torch.arange(14).view(2, 7) * 3, -100)),
    Case("Bfloat16 logits, the rest in float32", "low precision", WIDE,
         "a logarithm, a sum or a mean in bfloat16",
         calls("cross_entropy", normal(3, 9, 40, seed=12, scale=2.0, dtype=BF16),
               torch.arange(27).view(3, 9), -100)),
    Case("Float16 logits of 20,000", "low precision", WIDE, "differences in float16, which ends "
         "at 65,504",
         calls("cross_entropy",
               torch.tensor([[4e4, -4e4, 0.0], [-4e4, 4e4, 0.0]], dtype=FP16), ids(1, 2), -100),
         tolerance=NEAR_1E4),
    Case("Logits of 10,000 and -10,000", "edge", RANGE, "overflow without the maximum",
         calls("cross_entropy", BIG, ids(1, 0, 2, 1), -100), tolerance=NEAR_1E4),
    Case("Large logits at one place, small ones at another", "edge", RANGE,
         "one maximum for all places",
         calls("cross_entropy", normal(4, 6, seed=13) + torch.tensor([[900.0], [0.0], [-900.0],
                                                                      [100.0]]),
               ids(5, 0, 3, 2), -100), tolerance=Tolerance(1e-5, 5e-4, "as near 1e4, for 900")),
    Case("A target of probability e^-200, which no float32 holds", "edge", RANGE,
         "the logarithm of a probability that was rounded to zero, or clipped",
         calls("cross_entropy", torch.tensor([[0.0, 200.0], [3.0, -17.0]]), ids(0, 1), -100)),
    Case("Minus infinity for tokens that are not asked for", "edge", MINUS, "0 times infinity",
         calls("cross_entropy", torch.tensor([[-INF, 1.0, 2.0], [0.5, -INF, -INF]]), ids(2, 0),
               -100)),
    Case("Minus infinity for the target gives infinity", "edge", MINUS,
         "a probability that is clipped",
         calls("cross_entropy", torch.tensor([[-INF, 1.0, 2.0], [0.5, 1.0, 2.0]]), ids(0, 0),
               -100)),
    Case("Minus infinity at a place that is ignored", "edge", NOTHING, "infinity times zero",
         calls("cross_entropy",
               torch.tensor([[-INF, 1.0, 2.0], [0.5, 1.0, 2.0], [1.0, 2.0, -INF]]),
               ids(-100, 1, -100), -100)),
    Case("All places ignored", "edge", ALL, "a zero for nothing, an error",
         calls("cross_entropy", normal(3, 6, seed=14), ids(-100, -100, -100), -100)),
    Case("A vocabulary of one token", "edge", SURPRISE, "a squeeze that takes an axis too many",
         calls("cross_entropy", normal(2, 3, 1, seed=15), torch.tensor([[0, -100, 0], [0, 0, 0]]),
               -100)),
    Case("Logits and targets that do not lie side by side in memory", "edge", SURPRISE,
         "view() where the layout does not allow it",
         calls("cross_entropy", spread_out(normal(4, 3, 6, seed=16)).transpose(0, 1),
               spread_out(torch.arange(12).view(4, 3) % 6).T, -100)),
    Case("logits and targets are afterwards what they were", "inputs", INPUTS,
         "work in place: logits.float() of float32 logits is logits itself",
         calls("cross_entropy", normal(2, 4, 6, seed=17),
               torch.tensor([[1, -100, 2, 5], [0, 0, -100, 3]]), -100)),
    Case("Gradients flow to logits: softmax, minus one at the target, over the number of targets",
         "gradient", FLOW, "detach(), item(), a gradient at ignored places",
         gradients("cross_entropy", normal(2, 4, 6, seed=18, scale=2.0),
                   torch.tensor([[1, -100, 2, 5], [0, 0, -100, 3]]), -100), tolerance=LOOSE),
)  # fmt: skip

MASKED = "torch.where(real, nats, 0.0).sum() / real.sum()"
TOTAL = "torch.exp(shifted).sum(dim=-1).log()"
NATS = "log_total - chosen"
SHIFT = "wide - largest"
MAXIMUM = "wide.amax(dim=-1, keepdim=True)"
FIRST = "wide = logits.float()"
PICK = ".gather(-1, target.unsqueeze(-1)).squeeze(-1)"  # each target's own
P = f"torch.softmax(wide, -1){PICK}"


def instead(nats: str) -> tuple[str, ...]:
    """The solution with something else in place of each surprise."""
    return edit(NATS, nats)


def kept(nats: str, *before: str) -> str:
    """An answer that takes out the ignored places first: `z` and `t` are those that count."""
    lines = [
        "def cross_entropy(logits, targets, ignore_index=-100):",
        "    real = targets != ignore_index",
        "    z, t = logits.float()[real], targets[real]",
        *(f"    {line}" for line in before),
        f"    return ({nats}).mean()",
    ]
    return "\n".join(lines) + "\n"


EVERY = "torch.ones_like(targets, dtype=torch.bool)"
GATHERED = kept(
    "z.exp().sum(-1).log() - z[torch.arange(len(t)), t]", "z = z - z.amax(-1, keepdim=True)"
)


def alone(*replacements: str) -> str:
    """A changed solution as a text of its own, for what leaves nothing of the rest to see.

    Two mistakes at once are made of edits; with one of these, the other would not show.
    """
    return apply(edit(*replacements), SOLUTION)


def own(nats: str) -> str:
    """Something else in place of each surprise, as a text of its own."""
    return alone(NATS, nats)


MISTAKES = (
    Mistake(
        "mean over padding",
        "The sum leaves the ignored places out, but it is divided by the number of all places: the "
        "more padding, the smaller the loss.",
        (
            edit(MASKED, "torch.where(real, nats, 0.0).mean()"),
            edit(MASKED, "torch.where(real, nats, 0.0).sum() / targets.numel()"),
            edit(MASKED, "(nats * real).mean()"),
        ),
        "How many places are below your line, and how many above it?",
    ),
    Mistake(
        "sum for mean",
        "The surprises are added up and not divided by their number, so a longer text has a larger "
        "loss.",
        (
            edit(MASKED, "torch.where(real, nats, 0.0).sum()"),
            edit(MASKED, "nats[real].sum()"),
            edit(MASKED, "(nats * real).sum()"),
        ),
        "What should be the loss of the same two places, given twice?",
    ),
    Mistake(
        "overflow without the maximum",
        "The exponentials are taken of the logits as they are, and e^89 is beyond float32. "
        "Subtract the largest logit of each place first; the result does not change.",
        (
            edit(SHIFT, "wide"),
            instead("torch.exp(wide).sum(-1).log() - wide.gather(-1, target.unsqueeze(-1))"
                    ".squeeze(-1)"),
            instead("-(wide.exp() / wide.exp().sum(-1, keepdim=True)).gather(-1, "
                    "target.unsqueeze(-1)).squeeze(-1).log()"),
            instead("-(wide.exp().gather(-1, target.unsqueeze(-1)).squeeze(-1) / "
                    "wide.exp().sum(-1)).log()"),
        ),
        "What is torch.tensor(10_000.0).exp()?",
    ),
    Mistake(
        "one maximum for everything",
        "The largest logit of the whole tensor is subtracted. Places with small logits then have "
        "exponentials of zero; each place needs its own largest.",
        (
            edit(MAXIMUM, "wide.max()"),
            # no maximum where nothing is left
            kept("z.exp().sum(-1).log() - z[torch.arange(len(t)), t]", "z = z - z.max()"),
        ),
        "amax without dim looks at every place together.",
    ),
    Mistake(
        "maximum on one side only",
        "The largest logit is taken off, or added again, on one side only: in the logarithm of the "
        "sum, or in the target's logit. Both must be shifted alike, or neither.",
        (
            instead("log_total - wide.gather(-1, target.unsqueeze(-1)).squeeze(-1)"),
            instead("torch.exp(wide).sum(-1).log() - chosen"),
            instead("log_total - largest.squeeze(-1) - (chosen + largest.squeeze(-1))"),
            instead("log_total + largest.squeeze(-1) - chosen"),
        ),
        "log(sum(exp(z))) is m + log(sum(exp(z - m))). Where is your m?",
    ),
    Mistake(
        "base of the logarithm",
        "The logarithm has the base 2 or 10; a loss in nats takes the natural one, as softmax "
        "takes powers of e.",
        (
            instead("(log_total - chosen) / 0.6931471805599453"),
            instead("(log_total - chosen) / 2.302585092994046"),
            instead("torch.exp(shifted).sum(-1).log2() - chosen"),
            instead("torch.exp(shifted).sum(-1).log10() - chosen"),
            instead(f"-{P}.log2()"),
            instead(f"-{P}.log10()"),
        ),
        "Half a chance costs ln 2 = 0.69 nats.",
    ),
    Mistake(
        "softmax over the wrong axis",
        "The softmax runs over the places and not over the vocabulary: at each place the chances "
        "of all tokens no longer sum to one.",
        tuple(
            instead(text.format(A=axis))
            for axis in ("0", "max(wide.dim() - 2, 0)", "min(1, wide.dim() - 1)")
            for text in (
                f"-torch.softmax(wide, {{A}}){PICK}.log()",
                f"-(wide.exp() / wide.exp().sum({{A}}, keepdim=True)){PICK}.log()",
                f"-((wide - wide.amax({{A}}, keepdim=True)) - (wide - wide.amax({{A}}, "
                f"keepdim=True)).exp().sum({{A}}, keepdim=True).log()){PICK}",
                f"-(shifted - shifted.exp().sum({{A}}, keepdim=True).log()){PICK}",
            )
        )
        + tuple(
            kept(f"-{text}[torch.arange(len(t)), t]")
            for text in (
                "z.softmax(0).log()",
                "(z.exp() / z.exp().sum(0)).log()",
                "(z - z.exp().sum(0).log())",
                "((z - z.amax(0)) - (z - z.amax(0)).exp().sum(0).log())",
            )
        ),
        "Which numbers should sum to one for logits of shape (batch, seq, vocab)?",
    ),
    Mistake(
        "softmax over everything",
        "sum() without an axis adds up the exponentials of all places. Each place has a softmax of "
        "its own, over the vocabulary.",
        (
            own("shifted.exp().sum().log() - chosen"),
            own(f"(wide - wide.max()).exp().sum().log() - (wide - wide.max()){PICK}"),
            own(f"-(wide.exp() / wide.exp().sum()){PICK}.log()"),
            own(f"wide.exp().sum().log() - wide{PICK}"),
            kept("-(z.exp() / z.exp().sum())[torch.arange(len(t)), t].log()"),
            kept("z.exp().sum().log() - z[torch.arange(len(t)), t]"),
            kept("z.exp().sum().log() - z[torch.arange(len(t)), t]", "z = z - z.max()"),
            kept("z.exp().sum().log() - z[torch.arange(len(t)), t]",
                 "z = z - z.amax(-1, keepdim=True)"),
        ),
        "Print the sum of your probabilities over the last axis.",
    ),
    Mistake(
        "every target at every place",
        "z[:, targets] does not take each place's own target: it gives a square of every place "
        "with every target. gather, or a pair of indices, takes one number from each place.",
        tuple(
            kept(text, *before)
            for before in ((), ("z = z - z.amax(-1, keepdim=True)",))
            for text in (
                "z.exp().sum(-1).log() - z[:, t]",
                "-z.softmax(-1)[:, t].log()",
            )
        ),
        "What is the shape of z[:, targets] for three places?",
    ),
    Mistake(
        "mean before the logarithm",
        "The mean of the probabilities is taken, and then its logarithm. The loss is the other way "
        "round: the mean of the surprises.",
        (
            own(f"-(torch.where(real, {P}, 0.0).sum() / real.sum()).log().expand(real.shape)"),
        ),
        "By hand: chances of 1/2 and 1/8 cost ln 2 and ln 8. What is their mean?",
    ),
    Mistake(
        "probability clipped with an epsilon",
        "A small number keeps the logarithm away from zero, and so caps the loss: no surprise can "
        "be larger than its logarithm. Subtract logarithms instead, and nothing needs a cap.",
        tuple(
            instead(text.format(eps))
            for eps in (
                *(f"1e-{n}" for n in (5, 6, 7, 8, 9, 10, 12, 15, 20)),
                "torch.finfo(torch.float32).eps",
            )
            for text in (f"-({P} + {{}}).log()", f"-{P}.clamp(min={{}}).log()")
        ),
        "What is the loss for a target of probability e^-200?",
    ),
    Mistake(
        "logarithm of a rounded probability",
        "First the probability, then its logarithm: a chance of e^-200 is rounded to zero on the "
        "way, and its logarithm is minus infinity. Stay with logarithms all the way.",
        (instead(f"-{P}.log()"),),
        "log(exp(a) / sum) is a - log(sum), and no number on the way becomes zero.",
    ),
    Mistake(
        "logits clipped",
        "The logits are clipped, so that no exponential overflows. But that changes the loss: a "
        "logit of 10,000 is then no larger than one at the limit. Subtract the maximum instead.",
        tuple(
            alone(FIRST, f"wide = logits.float().clamp({limits})", SHIFT, "wide")
            for n in (50, 80, 88)
            for limits in (f"-{n}, {n}", f"max={n}")
        ),
        "What should be the loss of logits 10,000 and 0, if the second token comes?",
    ),
    Mistake(
        "sign forgotten",
        "The logarithm of a probability is negative; its negative is the surprise. Without the "
        "minus, training would make the right tokens less likely.",
        (instead("chosen - log_total"),),
        "Should a worse prediction have a larger loss or a smaller one?",
    ),
    Mistake(
        "no logarithm",
        "The loss is one minus the probability, or the probability itself; a target that was "
        "thought impossible should cost far more than one that was thought unlikely.",
        (alone(NATS, f"1 - {P}"), alone(NATS, P), alone(NATS, f"-{P}")),
        "By hand: what is -ln(1/4)?",
    ),
    Mistake(
        "not normalised",
        "The logit of the target is used alone. A logit says nothing until it is compared with "
        "the others, which is what log(sum(exp)) does.",
        (
            instead("-wide.gather(-1, target.unsqueeze(-1)).squeeze(-1)"),
            instead("-chosen"),
        ),
        "What happens to your result when all logits grow by five?",
    ),
    Mistake(
        "no exponential",
        "The logits themselves are divided by their sum, or summed up, without taking their "
        "exponentials: logits may be negative, and shares of them are no probabilities.",
        (
            own(f"-(wide / wide.sum(-1, keepdim=True)){PICK}.log()"),
            own(f"wide.sum(-1).log() - wide{PICK}"),
        ),
        "What does softmax do before it divides?",
    ),
    Mistake(
        "sigmoid for softmax",
        "Each logit goes through a sigmoid, as if every token were a yes or no of its own. In "
        "softmax the tokens compete: what one gains, the others lose.",
        (
            own(f"-torch.sigmoid(wide){PICK}.log()"),
            own(f"torch.nn.functional.softplus(-wide){PICK}"),
        ),
        "Do your probabilities of all tokens sum to one?",
    ),
    Mistake(
        "mean over the vocabulary too",
        "The mean is over all numbers of the table, one for each token of the vocabulary at each "
        "place, and all but one of them are zero: the loss is too small by the vocabulary's size.",
        (
            edit(MASKED, f"({MASKED}) / logits.shape[-1]"),
            edit(MASKED, f"({MASKED}) / logits.shape[-1]", NATS,
                 "-((torch.arange(wide.shape[-1]) == target.unsqueeze(-1)) * (shifted - "
                 "log_total.unsqueeze(-1))).sum(-1)"),
            edit(MASKED, "torch.where(real, nats, 0.0).mean() / logits.shape[-1]"),
        ),
        "How many of the numbers in your mean are not zero?",
    ),
    Mistake(
        "accuracy",
        "The result counts how often the largest logit is the target, or is not. It is easier to "
        "read than a loss, but has no gradient, and does not know how sure the model was.",
        (
            alone(NATS, "(wide.argmax(-1) == targets).float()"),
            alone(NATS, "(wide.argmax(-1) != targets).float()"),
        ),
        "A target with a chance of 1/4 should cost ln 4.",
    ),
    Mistake(
        "targets not looked at",
        "The surprise is computed without the target: at the likeliest token, or on average over "
        "all tokens, which is the entropy of the prediction.",
        (
            instead("log_total"),
            instead("log_total - (torch.softmax(wide, -1) * shifted.nan_to_num(neginf=0.0))"
                    ".sum(-1)"),
            instead("-torch.softmax(wide, -1).amax(-1).log()"),
            instead("-(torch.softmax(wide, -1) * torch.softmax(wide, -1).log()).sum(-1)"),
        ),
        "Change a target. Does the result change?",
    ),
    Mistake(
        "softmax twice",
        "Softmax is taken of probabilities, as happens when a loss that expects logits gets the "
        "output of a softmax.",
        (alone(FIRST, "wide = logits.float().softmax(-1)"),),
        "How small can your loss get when the model is certain and right?",
    ),
    Mistake(
        "ignored places made blind",
        "The logits of ignored places are set to zero, but the places still count, each with the "
        "loss of a blind guess.",
        (
            edit(FIRST, "wide = logits.float() * (targets != ignore_index).unsqueeze(-1)",
                 MASKED, "nats.mean()"),
            edit(FIRST, "wide = torch.where((targets == ignore_index).unsqueeze(-1), 0.0, "
                 "logits.float())", MASKED, "nats.mean()"),
        ),
        "Equal logits have the loss ln(vocab), not zero.",
    ),
    Mistake(
        "ignored places count as token 0",
        "The ignored targets are made valid numbers so that the look-up works, and are then never "
        "taken out again.",
        (
            edit(MASKED, "nats.mean()"),
            edit("torch.where(real, targets, 0)", "targets.clamp(min=0, max=wide.shape[-1] - 1)",
                 MASKED, "nats.mean()"),
        ),
        "Which targets enter your mean?",
    ),
    Mistake(
        "ignore_index fixed",
        "What is ignored is written into the function: -100, or every negative number. The one "
        "that is given should count.",
        (
            edit("targets != ignore_index", "targets != -100"),
            edit("targets != ignore_index", "targets >= 0"),
            edit("targets != ignore_index", "targets >= 0", "torch.where(real, targets, 0)",
                 "targets.clamp(min=0, max=wide.shape[-1] - 1)"),
            *(
                GATHERED.replace("targets != ignore_index", fixed)
                for fixed in ("targets != -100", "targets >= 0")
            ),
        ),
        "Which of the three arguments does your function never read?",
    ),
    Mistake(
        "ignored numbers looked up",
        "The target's logit is looked up at every place, also where the target is to be ignored, "
        "and there is no token with such a number. Put another number in its place first, and "
        "leave the place out of the mean.",
        (
            edit("torch.where(real, targets, 0)", "targets"),
            edit("torch.where(real, targets, 0)", "targets.clamp(min=0)"),
            edit("torch.where(real, targets, 0)", "targets",
                 "shifted.gather(-1, target.unsqueeze(-1)).squeeze(-1)",
                 "shifted.reshape(-1, wide.shape[-1])[torch.arange(targets.numel()), "
                 "target.reshape(-1)].view(targets.shape)"),
            # ignore_index is not looked at
            alone("targets != ignore_index", EVERY),
            GATHERED.replace("targets != ignore_index", EVERY),
        ),
        "Token -100 of 50: which one is that?",
    ),
    Mistake(
        "ignored places times zero",
        "The ignored places are multiplied by zero. That works for numbers, but zero times "
        "infinity is nan; torch.where or an index leaves them out whatever they are.",
        (
            edit(MASKED, "(nats * real).sum() / real.sum()"),
            edit(MASKED, "(nats * real).sum() / real.sum().clamp(min=1)"),
        ),
        "What is 0 * torch.inf?",
    ),
    Mistake(
        "unwanted tokens times zero",
        "The logarithms of all probabilities are multiplied by a one-hot vector and added up. That "
        "works for numbers, but zero times minus infinity is nan; choose the target with gather "
        "or torch.where.",
        (
            instead(
                "-((torch.arange(wide.shape[-1]) == target.unsqueeze(-1)) * (shifted - "
                "log_total.unsqueeze(-1))).sum(-1)"
            ),
            instead(
                "log_total - ((torch.arange(wide.shape[-1]) == target.unsqueeze(-1)) * shifted)"
                ".sum(-1)"
            ),
            instead("-((torch.arange(wide.shape[-1]) == target.unsqueeze(-1)) * "
                    "torch.softmax(wide, -1).log()).sum(-1)"),
        ),
        "What is 0 * torch.inf?",
    ),
    Mistake(
        "zero for nothing",
        "Where every place is ignored the result is 0, as if the prediction were perfect; the "
        "contract asks for nan, which nobody takes for a good loss.",
        (
            edit("/ real.sum()", "/ real.sum().clamp(min=1)"),
            edit("/ real.sum()", "/ (real.sum() + 1e-9)"),
            edit(MASKED, f"({MASKED}).nan_to_num(nan=0.0)"),
        ),
        "What is a mean of no numbers?",
    ),
    Mistake(
        "mean of means",
        "Each row has a mean of its own, and then the mean of those is taken: a target in a row "
        "with much padding counts more than others.",
        (
            edit(MASKED, "(torch.where(real, nats, 0.0).sum(-1) / real.sum(-1)).mean()"),
            edit(MASKED, "(torch.where(real, nats, 0.0).sum(-1) / real.sum(-1).clamp(min=1))"
                 ".mean()"),
            edit(MASKED, "((nats * real).sum(-1) / real.sum(-1)).mean()"),
            edit(MASKED, "((nats * real).sum(-1) / real.sum(-1).clamp(min=1)).mean()"),
        ),
        "Rows of one and of four targets: how much should each target count?",
    ),
    Mistake(
        "divided by the number of rows",
        "The sum is divided by the size of the batch and not by the number of targets.",
        (
            edit("/ real.sum()", "/ (targets.shape[0] if targets.dim() else 1)"),
            edit(MASKED, "torch.where(real, nats, 0.0).sum(-1).mean()"),
        ),
        "What should be the loss of a row of eight blind guesses?",
    ),
    Mistake(
        "perplexity",
        "The exponential of the mean is returned. That is the perplexity, in tokens; the loss is "
        "its logarithm, in nats.",
        (edit(MASKED, f"({MASKED}).exp()"),),
        "What is the result for a certain and right prediction: 0 or 1?",
    ),
    Mistake(
        "shifted once more",
        "The function shifts the targets itself, as some do; here targets[s] already is the right "
        "token for logits[s].",
        (
            edit(FIRST, "wide = logits.float()\n    if targets.dim():\n        wide, targets = "
                 "wide[..., :-1, :], targets[..., 1:]"),
        ),
        "Who shifts: next_token_pairs, cross_entropy, or both?",
    ),
    Mistake(
        "not in float32",
        "The computation stays in the dtype of the logits; bfloat16 has three digits, and a "
        "difference of two float16 logits can be infinite.",
        (
            edit(FIRST, "wide = logits", MASKED, f"({MASKED}).float()"),
            edit(FIRST, "wide = logits", NATS, "(log_total - chosen).float()"),
            edit(FIRST, "wide = logits", "chosen = shifted", "shifted, log_total = shifted.float(),"
                 " log_total.float()\n    chosen = shifted"),
            edit(FIRST, "wide = logits", SHIFT, "(wide - largest).float()"),
        ),
        "Where does float32 come in? Before the first operation.",
    ),
    Mistake(
        "result in the dtype of the logits",
        "The result is cast to bfloat16 at the end, or never was float32; a loss needs float32's "
        "digits, to see it fall by a thousandth.",
        (edit(MASKED, f"({MASKED}).to(logits.dtype)"), edit(FIRST, "wide = logits")),
        "Print the dtype of your result for bfloat16 logits.",
    ),
    Mistake(
        "loss of every place",
        "One loss for each place comes back, and no mean of them.",
        (edit(MASKED, "torch.where(real, nats, 0.0)"), edit(MASKED, "nats[real]"),
         edit(MASKED, "nats")),
        "The result has the shape ().",
    ),
    Mistake(
        "works on logits in place",
        "logits.float() of float32 logits is the same tensor and no copy, so an operation with an "
        "underscore, or -=, changes the caller's logits.",
        (
            edit(SHIFT, "wide.sub_(largest)"),
        ),
        "wide - largest makes a new tensor.",
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="cross_entropy",
    lesson="03",
    title="The loss",
    starter=STARTER,
    solution=SOLUTION,
    cases=CASES,
    mistakes=MISTAKES,
    hints=Hints(
        nudge="The surprise at one place is log(sum(exp(logits))) minus the target's logit. Get "
        "that right for one row of three logits. Then ask what happens at 10,000, and which places "
        "belong to the mean.",
        outline="Widen to float32. Note which targets are real, and put token 0 in place of the "
        "others. Subtract each place's largest logit (amax with keepdim). Logarithm of the sum of "
        "exponentials, minus the shifted logit of the target (gather). Choose the real places with "
        "torch.where, add up, divide by their number.",
    ),
    difficulty="medium",
    importance="Training minimises it, and perplexity and bits per byte are made of it.",
    minutes=25,
    setup="import torch\nfrom torch import Tensor",
    forbidden=(
        *("*cross_entropy*", "*nll_loss*", "*log_softmax*", "*logsumexp*", "*logaddexp*"),
        "*logcumsumexp*",
    ),
    reference={"cross_entropy": loss.cross_entropy},
)
