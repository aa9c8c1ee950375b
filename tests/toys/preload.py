"""A preload module, to be found in the forks."""

from tests.toys import trainer

__all__ = ["trainer"]
