"""Training: the loss, the optimizer, the schedule, and the loop that can be killed and resumed."""

from llama_course.training.config import TrainConfig
from llama_course.training.evaluate import Validation, evaluate
from llama_course.training.log import TrainingLog, read_log
from llama_course.training.loss import bits_per_byte, cross_entropy, next_token_loss, perplexity
from llama_course.training.optimizer import make_optimizer
from llama_course.training.run import read_run
from llama_course.training.schedule import learning_rate
from llama_course.training.timing import seconds_per_step
from llama_course.training.trainer import Trainer, TrainResult

__all__ = [
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "TrainingLog",
    "Validation",
    "bits_per_byte",
    "cross_entropy",
    "evaluate",
    "learning_rate",
    "make_optimizer",
    "next_token_loss",
    "perplexity",
    "read_log",
    "read_run",
    "seconds_per_step",
]
