"""From values of tasks to values of samples and back, against loops."""

from __future__ import annotations

import pytest
import torch

from agent.task_major import per_sample, per_task

TASKS, PER_TASK = 3, 4


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("lead", "tail"), [((), ()), ((), (5,)), ((2,), (5,)), ((2,), ())])
@pytest.mark.parametrize("from_the_end", [False, True])
def test_every_sample_gets_the_row_of_its_task(lead, tail, from_the_end):
    table = randn(*lead, TASKS, *tail)
    dim = -1 - len(tail) if from_the_end else len(lead)
    task = torch.tensor([2, 0, 0, 1, 2])
    rows = per_sample(table, task, dim)
    assert rows.shape == (*lead, 5, *tail)
    task_major = per_sample(table, None, dim)
    assert task_major.shape == (*lead, TASKS, 1, *tail)
    groups = per_sample(table, task.unsqueeze(1), dim)
    assert groups.shape == (*lead, 5, 1, *tail)
    assert torch.equal(groups.squeeze(len(lead) + 1), rows)
    for e in range(lead[0] if lead else 1):
        own, picked, broadcast = (x[e] if lead else x for x in (table, rows, task_major))
        for i, t in enumerate(task.tolist()):
            assert torch.equal(picked[i], own[t])
        for t in range(TASKS):
            assert torch.equal(broadcast[t, 0], own[t])


def test_rows_of_a_table_pass_gradients_to_their_task():
    table = randn(TASKS).requires_grad_()
    (gradient,) = torch.autograd.grad(per_sample(table, torch.tensor([1, 1, 2])).sum(), [table])
    assert gradient.tolist() == [0, 2, 1]


def test_means_of_tasks_are_those_of_their_samples_in_either_order():
    values = randn(TASKS, PER_TASK)
    expected = [sum(row) / PER_TASK for row in values.tolist()]
    assert per_task(values, None, TASKS).tolist() == pytest.approx(expected)
    order = torch.randperm(TASKS * PER_TASK, generator=torch.Generator().manual_seed(1))
    mixed = per_task(values.flatten()[order], order // PER_TASK, TASKS)
    assert mixed.tolist() == pytest.approx(expected)
    halves, task = values.view(2 * TASKS, -1), torch.arange(TASKS).repeat_interleave(2)
    assert per_task(halves, task.unsqueeze(1), TASKS).tolist() == pytest.approx(expected)


def test_the_mean_of_a_task_without_samples_is_0():
    means = per_task(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2, 2, 0]), 4)
    assert means.tolist() == [5, 0, 2, 0]
