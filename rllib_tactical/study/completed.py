"""All finished runs of a folder, by question and size."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Any

from rllib_tactical.study.analysis import Answer, Results, answer
from rllib_tactical.study.experiments import QUESTIONS, Question, Run, Size
from rllib_tactical.study.result_store import Store


def finished_answers(store: Store) -> list[Answer]:
    """Return an answer per question and size that has finished runs, the longest runs first.

    A result counts when its key is that of the same run with today's defaults; results of other
    defaults are left out. So is a comparison of which only the first variant has results: those
    runs appear under another question.
    """
    seeds: dict[Size, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for result in store.results():
        seeds[Size.of(result)][result["market"]].add(result["seed"])
    answers = []
    for question in QUESTIONS.values():
        for size in sorted(seeds, reverse=True):
            results = _results(question, size, seeds[size], store)
            compared = len(question.variants) == 1 or any(
                run.variant != question.variants[0] for run, _ in results
            )
            if results and compared:
                answers.append(answer(question, results, size))
    return answers


def narrowed(
    answers: list[Answer], questions: tuple[str, ...], markets: tuple[str, ...]
) -> list[Answer]:
    """Return the answers to some questions on some markets; empty: all of them."""
    return [
        dataclasses.replace(
            each, lines=tuple(line for line in each.lines if not markets or line.market in markets)
        )
        for each in answers
        if not questions or each.question.name in questions
    ]


def _results(question: Question, size: Size, seeds: dict[str, set[int]], store: Store) -> Results:
    sizes: dict[str, Any] = dataclasses.asdict(size)
    runs = [
        Run(market=market, seed=seed, variant=variant, **sizes)
        for market in question.markets
        for variant in question.variants
        for seed in sorted(seeds.get(market, ()))
    ]
    return [(run, found) for run in runs if (found := store.find(run))]
