.PHONY: check test demo

check:  ## style, types, layers
	uv run ruff check .
	uv run ruff format --check .
	uv run pyright
	uv run lint-imports

test:  ## the fast suite
	uv run pytest

demo:  ## one round with the embedded nano world
	uv run ouro bootstrap
