"""The replay buffer against Python lists, with poisoned storage."""

import math

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from agent.replay import ReplayBuffer
from configs import UsageError, parse_config

CPU = torch.device("cpu")
OBS, ACTION = 3, 2
DISCOUNT = 0.75  # its powers are exact
quick = settings(deadline=None, max_examples=60)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def poisoned(num_tasks, ring, n_step=1):
    """An empty buffer in which reading an unwritten row shows."""
    buffer = ReplayBuffer(
        num_tasks, num_tasks * ring, OBS, ACTION, CPU, discount=DISCOUNT, n_step=n_step
    )
    for store in buffer.storage.values():
        if store.is_floating_point():
            store.fill_(float("nan"))
    return buffer


def transitions(num_tasks, count, start):
    """`[T, count]` transitions, each made of its unique number: 1000 * time + task."""
    number = 1000.0 * torch.arange(start, start + count) + torch.arange(num_tasks).unsqueeze(1)
    return {
        "obs": number.unsqueeze(-1) + torch.tensor([0.0, 0.25, 0.5]),
        "action": number.unsqueeze(-1) * torch.tensor([1.0, -1.0]),
        "reward": -number,
        "next_obs": number.unsqueeze(-1) + torch.tensor([100.0, 200.0, 300.0]),
        "terminated": is_terminated(number),
        "truncated": torch.zeros_like(number, dtype=torch.bool),
    }


def is_terminated(number):
    """Alternates along time and along tasks."""
    return (number // 1000 + number) % 2 == 1


class Model:
    """The oracle: one Python list per task of the numbers that should be stored."""

    def __init__(self, num_tasks, ring):
        self.buffer = poisoned(num_tasks, ring)
        self.num_tasks, self.ring, self.clock = num_tasks, ring, 0
        self.stored = [[] for _ in range(num_tasks)]

    def add(self, count):
        self.buffer.add(**transitions(self.num_tasks, count, self.clock))
        for task, numbers in enumerate(self.stored):
            numbers += [1000 * (self.clock + i) + task for i in range(count)]
            del numbers[: -self.ring]
        self.clock += count


def numbers_of(batch):
    """The numbers of a batch, after checking that all fields of a row belong together."""
    number = -batch.reward
    assert torch.equal(batch.obs, number.unsqueeze(-1) + torch.tensor([0.0, 0.25, 0.5]))
    assert torch.equal(batch.action, number.unsqueeze(-1) * torch.tensor([1.0, -1.0]))
    assert torch.equal(batch.next_obs, number.unsqueeze(-1) + torch.tensor([100.0, 200.0, 300.0]))
    assert torch.equal(batch.discount, DISCOUNT * ~is_terminated(number))
    return number.long()


def check_against(model, buffer, seed):
    tasks, size = model.num_tasks, len(model.stored[0])
    assert buffer.size == size

    for count in (1, size, size + 3):
        newest = numbers_of(buffer.newest(count))
        for task in range(tasks):
            assert sorted(newest[task].tolist()) == model.stored[task][-count:]

    balanced = buffer.sample("balanced", 8 * tasks + tasks - 1, seeded(seed))
    assert balanced.rows is None
    assert balanced.obs.shape == (tasks, 8, OBS)
    for task, numbers in enumerate(numbers_of(balanced).tolist()):
        assert set(numbers) <= set(model.stored[task])

    uniform = buffer.sample("uniform", 20, seeded(seed))
    assert uniform.obs.shape == (20, OBS)
    assert uniform.rows.dtype == torch.int64
    for task, number in zip(uniform.rows.tolist(), numbers_of(uniform).tolist(), strict=True):
        assert number in model.stored[task]


sequences = st.lists(st.integers(1, 4), min_size=1, max_size=12)


@quick
@given(num_tasks=st.integers(1, 4), ring=st.integers(4, 9), counts=sequences)
def test_any_sequence_of_adds_stores_the_newest_of_every_task(num_tasks, ring, counts):
    model = Model(num_tasks, ring)
    for step, count in enumerate(counts):
        model.add(count)
        check_against(model, model.buffer, seed=step)


@pytest.mark.parametrize("count", [5, 6, 13])
def test_adding_more_than_a_ring_at_once_keeps_the_newest(count):
    model = Model(num_tasks=2, ring=5)
    model.add(3)
    model.add(count)
    check_against(model, model.buffer, seed=0)


@quick
@given(num_tasks=st.integers(1, 3), before=sequences, after=sequences)
def test_a_restored_buffer_goes_on_like_the_original(num_tasks, before, after):
    model = Model(num_tasks, ring=5)
    for count in before:
        model.add(count)
    state = {name: value.clone() for name, value in model.buffer.state_dict().items()}
    assert state["obs"].shape[1] == model.buffer.size  # the written part only
    restored = poisoned(num_tasks, ring=5)
    restored.load_state_dict(state)
    check_against(model, restored, seed=0)
    for count in after:
        restored.add(**transitions(num_tasks, count, model.clock))
        model.add(count)
        check_against(model, restored, seed=1)
        one, other = (b.sample("uniform", 9, seeded(2)) for b in (model.buffer, restored))
        assert torch.equal(one.obs, other.obs)


class Streams:
    """The oracle of n-step returns: every environment's transitions in one Python list."""

    def __init__(self, num_tasks, copies, ring, n_step, seed):
        self.buffer = poisoned(num_tasks, ring, n_step)
        self.shape, self.ring, self.n_step = (num_tasks, copies), ring, n_step
        self.generator = seeded(seed)
        self.steps = []  # one dict of [T, N] tensors per add

    def add(self):
        number = 1000.0 * len(self.steps) + torch.arange(math.prod(self.shape)).view(self.shape)
        ends = torch.rand(2, *self.shape, generator=self.generator) < 0.15
        self.steps.append(
            {
                "obs": number.unsqueeze(-1).expand(-1, -1, OBS),
                "action": number.unsqueeze(-1).expand(-1, -1, ACTION),
                "reward": torch.randint(-8, 9, self.shape, generator=self.generator).float(),
                "next_obs": number.unsqueeze(-1).expand(-1, -1, OBS) + 0.5,
                "terminated": ends[0],
                "truncated": ends[1],
            }
        )
        self.buffer.add(**self.steps[-1])

    def expected(self, number):
        """Reward, next observation and discount of the transition with that number."""
        time, environment = divmod(int(number), 1000)
        reward, discount = 0.0, 1.0
        for step in self.steps[time : time + self.n_step]:
            own = {name: value.flatten(0, 1)[environment] for name, value in step.items()}
            reward += discount * own["reward"].item()
            discount *= DISCOUNT
            if own["terminated"]:
                return reward, own["next_obs"][0].item(), 0.0
            if own["truncated"]:
                break
        return reward, own["next_obs"][0].item(), discount

    def check(self, buffer):
        for batch in (buffer.newest(99), buffer.sample("uniform", 40, seeded(1))):
            numbers = batch.obs[..., 0].flatten().tolist()
            assert batch.action[..., 0].flatten().tolist() == numbers
            found = zip(
                batch.reward.flatten().tolist(),
                batch.next_obs[..., 0].flatten().tolist(),
                batch.discount.flatten().tolist(),
                strict=True,
            )
            assert list(found) == [self.expected(number) for number in numbers]


@quick
@given(
    num_tasks=st.integers(1, 3),
    copies=st.integers(1, 3),
    ring=st.integers(3, 11),  # also such that a ring is no multiple of the copies
    n_step=st.integers(1, 5),
    adds=st.integers(1, 14),
    seed=st.integers(0, 999),
)
def test_n_step_transitions_follow_one_environment_to_its_end(
    num_tasks, copies, ring, n_step, adds, seed
):
    streams = Streams(num_tasks, copies, ring, n_step, seed)
    for _ in range(adds):
        streams.add()
    streams.check(streams.buffer)
    restored = poisoned(num_tasks, ring, n_step)
    restored.load_state_dict({k: v.clone() for k, v in streams.buffer.state_dict().items()})
    streams.check(restored)


def saved(num_tasks=2, ring=5, count=3):
    model = Model(num_tasks, ring)
    model.add(count)
    return model.buffer.state_dict()


def test_load_refuses_more_transitions_than_the_ring_holds():
    with pytest.raises(ValueError, match="are not of this ring"):
        poisoned(2, ring=4).load_state_dict(saved(count=5))


def test_load_refuses_a_full_ring_of_another_size():
    # its write position lies in the middle: going on would read rows that were never written
    with pytest.raises(ValueError, match="ring"):
        poisoned(2, ring=9).load_state_dict(saved(ring=5, count=7))


def test_load_refuses_another_number_of_tasks():
    with pytest.raises(ValueError, match=r"'obs' is torch\.float32"):
        poisoned(3, ring=5).load_state_dict(saved(num_tasks=2))


@pytest.mark.parametrize("name", ["obs", "action", "reward", "next_obs", "terminated", "truncated"])
def test_load_refuses_a_wrong_shape_and_changes_nothing(name):
    state = saved()
    state[name] = torch.zeros(2, 3, 17)
    buffer = poisoned(2, ring=5)
    with pytest.raises(ValueError, match=f"'{name}' is torch.float32|holds 17 transitions"):
        buffer.load_state_dict(state)
    assert buffer.size == 0
    assert buffer.storage["reward"].isnan().all()


@pytest.mark.parametrize("position", [-1, 5, 100])
def test_load_refuses_a_position_outside_the_ring(position):
    with pytest.raises(ValueError):
        poisoned(2, ring=5).load_state_dict(saved() | {"position": torch.tensor(position)})


@pytest.mark.parametrize(("num_tasks", "capacity"), [(2, 10), (3, 10), (10, 1000)])
def test_bytes_needed_is_the_real_storage(num_tasks, capacity):
    buffer = ReplayBuffer(num_tasks, capacity, OBS, ACTION, CPU, discount=0.9)
    real = sum(store.nbytes for store in buffer.storage.values())
    assert ReplayBuffer.bytes_needed(num_tasks, capacity, OBS, ACTION) == real


def test_the_storage_goes_to_the_learner_if_it_leaves_half_of_the_memory() -> None:
    gpu = torch.device("cuda:1")
    assert ReplayBuffer.choose_device(50, gpu, free=100) == gpu
    assert ReplayBuffer.choose_device(51, gpu, free=100) == CPU
    assert ReplayBuffer.choose_device(99, CPU, free=100) == CPU


def test_a_million_transitions_take_less_than_360_megabytes():
    # 4 bytes x (39 + 39 + 4 + 1) + 2 = 334 bytes each
    assert ReplayBuffer.bytes_needed(10, 1_000_000, 39, 4) == 334_000_000


def test_a_capacity_beyond_free_memory_is_refused_by_name():
    too_many = 2 * psutil.virtual_memory().total // 333
    with pytest.raises(UsageError, match=r"replay\.capacity"):
        ReplayBuffer(10, too_many, 39, 4, CPU, discount=0.9)


def buffer_of(capacity):
    config = parse_config({"replay": {"capacity": capacity}}, source="test")
    return ReplayBuffer(len(config.env.tasks), config.replay.capacity, 39, 4, CPU, discount=0.9)


def test_a_capacity_that_does_not_hold_one_step_of_all_environments_is_refused():
    # ten tasks, five copies of each
    assert buffer_of(50).ring == 5
    with pytest.raises(UsageError, match=r"replay\.capacity"):
        buffer_of(49)


def test_rewards_come_back_bit_for_bit():
    rewards = torch.tensor([[1e-30, -3.4e38, 0.1, -0.0, 123456.79, 1.1754944e-38]])
    buffer = poisoned(1, ring=6)
    buffer.add(**(transitions(1, 6, 0) | {"reward": rewards}))
    stored = buffer.newest(6).reward
    assert sorted(stored.view(torch.int32).tolist()[0]) == sorted(
        rewards.view(torch.int32).tolist()[0]
    )


def counts_of(numbers, model):
    """How often each stored transition was drawn, per task."""
    return [[numbers[task].count(n) for n in model.stored[task]] for task in range(3)]


@pytest.mark.parametrize("filled", [4, 12])  # half full; wrapped
def test_balanced_sampling_is_uniform_within_each_task(filled):
    model = Model(3, ring=8)
    model.add(filled)
    drawn = numbers_of(model.buffer.sample("balanced", 12_000, seeded())).tolist()
    for counts in counts_of(drawn, model):
        assert sum(counts) == 4000
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("filled", [4, 12])
def test_uniform_sampling_is_uniform_over_everything(filled):
    model = Model(3, ring=8)
    model.add(filled)
    drawn = numbers_of(model.buffer.sample("uniform", 12_000, seeded())).tolist()
    counts = [count for task in counts_of([drawn] * 3, model) for count in task]
    assert sum(counts) == 12_000
    assert stats.chisquare(counts).pvalue > 1e-4


def test_samples_repeat_with_the_generator_and_differ_without():
    model = Model(2, ring=8)
    model.add(8)
    for sampling in ("balanced", "uniform"):
        one, same, other = (model.buffer.sample(sampling, 20, seeded(s)) for s in (1, 1, 2))
        assert torch.equal(one.obs, same.obs)
        assert not torch.equal(one.obs, other.obs)


def test_a_batch_is_a_copy_of_the_storage():
    model = Model(2, ring=4)
    model.add(4)
    batch = model.buffer.sample("balanced", 8, seeded())
    batch.obs.zero_()
    check_against(model, model.buffer, seed=0)


def test_a_lost_transition_is_never_seen_and_ends_its_episode():
    """Two copies, three-step returns; copy 0 loses its third step, whose values are poison."""
    buffer = poisoned(1, 10, n_step=3)
    for time in range(5):
        number = torch.tensor([[10.0 * time, 10.0 * time + 1]])  # [T, N]: copy 0, copy 1
        lost = torch.tensor([[time == 2, False]])
        number = torch.where(lost, torch.nan, number)
        buffer.add(
            obs=number.unsqueeze(-1).expand(1, 2, OBS),
            action=number.unsqueeze(-1).expand(1, 2, ACTION),
            reward=number,
            next_obs=number.unsqueeze(-1).expand(1, 2, OBS) + 10,
            terminated=torch.zeros(1, 2, dtype=torch.bool),
            truncated=lost,
            lost=lost,
        )
    batch = buffer.newest(10)
    assert all(value.isfinite().all() for value in (batch.obs, batch.reward, batch.next_obs))
    seen = {}  # the first of the n steps -> reward, next_obs, discount
    for obs, *rest in zip(
        batch.obs[0, :, 0].tolist(),
        batch.reward[0].tolist(),
        batch.next_obs[0, :, 0].tolist(),
        batch.discount[0].tolist(),
        strict=True,
    ):
        seen.setdefault(obs, set()).add(tuple(rest))
    gamma = DISCOUNT
    assert seen == {
        0: {(0 + gamma * 10, 20, gamma**2)},  # ends after step 1
        10: {(10, 20, gamma)},  # twice in the buffer: also in the place of step 2
        30: {(30 + gamma * 40, 50, gamma**2)},  # no step follows 40 yet
        40: {(40, 50, gamma)},
        1: {(1 + gamma * 11 + gamma**2 * 21, 31, gamma**3)},
        11: {(11 + gamma * 21 + gamma**2 * 31, 41, gamma**3)},
        21: {(21 + gamma * 31 + gamma**2 * 41, 51, gamma**3)},
        31: {(31 + gamma * 41, 51, gamma**2)},
        41: {(41, 51, gamma)},
    }


def test_a_failure_in_the_very_first_step_is_an_error():
    buffer = poisoned(2, 4)
    with pytest.raises(UsageError, match="first step"):
        buffer.add(**transitions(2, 1, 0), lost=torch.tensor([[False], [True]]))
