"""Figures: one function for each, data in and a figure out."""

from llama_course.plots.loss import loss_curve, save_loss_curve

__all__ = ["loss_curve", "save_loss_curve"]
