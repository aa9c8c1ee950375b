"""``python -m tests.search.toy_run``: search.run, with the toy trainer joined to the family."""

from search.run import app
from tests.search import toy

assert toy.Toy.kind == "toy"

if __name__ == "__main__":
    app()
