.PHONY: check test slow demo

check:  ## style, types, layers
	uv run ruff check .
	uv run ruff format --check .
	uv run pyright
	uv run lint-imports

test:  ## the fast suite
	uv run pytest

slow:  ## the slow suite, one test after the other: each takes both cores for itself, with servers, rounds and torchrun
	uv run pytest -m slow -n 0

demo:  ## one round with the embedded nano world
	uv run ouro bootstrap
