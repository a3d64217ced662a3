"""The resolved configuration: what `auto` stands for, and where everything goes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, replace

import pytest
import torch

import agent.plan
from agent import replay
from agent.plan import resolve
from agent.replay import ReplayBuffer
from agent.sac import SAC
from agent.sizing import matched_network
from configs import UsageError, load_config
from envs import ACTION_SIZE, OBS_SIZE
from training import forecast
from training.checkpoints import policy
from training.checkpoints.folder import NEWEST, save_checkpoint
from training.checkpoints.tensors import agent_tensors, network_tensors
from training.forecast import evaluation_env_steps, simulator_bytes
from training.progress import Progress

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture
def machine(monkeypatch):
    """A pretended machine: its cores, and free memory of a device; GPUs multiply in bfloat16."""

    def pretend(cores=8, free=10**12):
        monkeypatch.setattr(agent.plan, "usable_cores", lambda: cores)
        monkeypatch.setattr(agent.plan, "free_bytes", lambda device: free)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))

    pretend()
    return pretend


def with_machine(**settings):
    config = load_config("mt10")
    return replace(config, machine=replace(config.machine, **settings))


def with_agent(**settings):
    config = load_config("mt10")
    return replace(config, agent=replace(config.agent, **settings))


# --- disk --------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [1.0, 0.9])
def test_an_agent_with_all_that_it_can_have_fits_the_forecast_and_is_loaded(
    tmp_path, monkeypatch, density
):
    """Masks, and what Synaptic Intelligence keeps of actor and critics."""
    monkeypatch.setattr(policy, "_HEADROOM_BYTES", 2**14)  # so that small networks do
    config = load_config("mt10_one_by_one")
    config = replace(
        config,
        network=replace(
            config.network,
            weight_density=density,
            num_segments=1,
            actor_hidden=(128, 128),
            critic_hidden=(128, 128),
        ),
        protection=replace(config.protection, strength=0.1),
        agent=replace(config.agent, protects="actor_and_critics"),
        machine=replace(config.machine, compile="never"),
    )
    plan = resolve(config, CPU)
    agent = SAC(plan, torch.Generator().manual_seed(0))
    newest, best = agent_tensors(agent), network_tensors(agent)
    sizes = [sum(tensor.nbytes for tensor in tensors.values()) for tensors in (newest, best)]
    networks = forecast.checkpoint_bytes(plan) - 2 * plan.replay_bytes
    of_scales = 3 * 20_000  # bytes: of observations, rewards, temperatures, which are no parameters
    needed = 2 * sizes[0] + sizes[1] - of_scales
    assert needed < networks < 1.1 * needed  # what holds segments is forecast, and is not there
    (tmp_path / "checkpoints").mkdir()
    state = {"config": asdict(config), "progress": asdict(Progress())}
    save_checkpoint(tmp_path / "checkpoints", NEWEST, 0, {"agent": newest}, state)
    loaded = policy.load_policy(tmp_path, CPU).agent
    for mine, theirs in zip(agent.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, theirs)


# --- cores -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "threads", "workers"),
    [(1, 1, 1), (2, 1, 1), (3, 1, 2), (8, 4, 4), (9, 4, 5), (64, 32, 32)],
)
def test_on_the_cpu_learner_and_simulators_share_the_cores(machine, cores, threads, workers):
    machine(cores)
    plan = resolve(with_machine(), CPU)
    in_evaluations = min(cores, 50)  # of ten tasks, five environments each
    assert (plan.threads, plan.workers, plan.evaluation_workers) == (
        threads,
        workers,
        in_evaluations,
    )


def test_there_are_no_more_processes_than_environments(machine):
    machine(128)
    config = with_machine()
    plan = resolve(replace(config, env=replace(config.env, tasks=("reach-v3",))), CPU)
    assert (plan.workers, plan.evaluation_workers) == (5, 5)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (8, 7)])
def test_beside_a_gpu_the_simulators_get_all_cores_but_one(machine, cores, workers):
    machine(cores)
    plan = resolve(with_machine(), GPU)
    assert (plan.workers, plan.evaluation_workers) == (workers, cores)


def test_threads_and_workers_may_be_said(machine):
    plan = resolve(with_machine(threads=3, workers=11), CPU)
    assert (plan.threads, plan.workers, plan.evaluation_workers) == (3, 11, 11)
    plan = resolve(with_machine(threads=3), CPU)
    assert (plan.threads, plan.workers, plan.evaluation_workers) == (3, 5, 8)
    plan = resolve(with_machine(threads=8), CPU)
    assert plan.workers == 1


# --- device, precision, memory -----------------------------------------------------------------


def test_without_a_device_given_the_config_names_it(machine):
    assert resolve(with_machine(device="cpu")).device == CPU
    with pytest.raises(UsageError, match=r"--machine\.device tpu"):
        resolve(with_machine(device="tpu"))
    assert resolve(with_machine(device="tpu"), CPU).device == CPU


@pytest.mark.parametrize(
    ("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_precision_that_is_named_is_taken(machine, name, dtype, device):
    assert resolve(with_machine(precision=name), device).precision == dtype


def test_precision_auto_is_bfloat16_where_the_device_multiplies_it(machine, monkeypatch):
    assert resolve(with_machine(), GPU).precision == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert resolve(with_machine(), GPU).precision == torch.float32
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        expected = torch.bfloat16 if native else torch.float32
        assert resolve(with_machine(), CPU).precision == expected


def test_the_replay_buffer_stays_with_the_learner_if_it_leaves_half_of_the_memory(machine):
    config = load_config("mt10")
    needed = ReplayBuffer.bytes_needed(
        10, config.env.copies_per_task, config.replay.capacity, OBS_SIZE, ACTION_SIZE
    )
    machine(free=2 * needed)
    assert resolve(config, GPU).replay_device == GPU
    machine(free=2 * needed - 1)
    assert resolve(config, GPU).replay_device == CPU
    assert resolve(config, CPU).replay_device == CPU


# --- sizes -------------------------------------------------------------------------------------


def test_the_tasks_are_named_in_their_order():
    config = load_config("mt10")
    assert resolve(config, CPU).tasks == config.env.task_names
    names = ("door-open-v3", "reach-v3")
    assert resolve(replace(config, env=replace(config.env, tasks=names)), CPU).tasks == names


def test_observations_and_actions_have_meta_worlds_sizes():
    plan = resolve(load_config("mt10"), CPU)
    assert (plan.obs_size, plan.action_size) == (39, 4)


def test_target_entropy_auto_is_minus_the_action_size():
    assert resolve(with_agent(target_entropy="auto"), CPU).target_entropy == -4.0
    assert resolve(with_agent(target_entropy=-1.5), CPU).target_entropy == -1.5
    assert resolve(with_agent(target_entropy=0.0), CPU).target_entropy == 0.0


def test_a_critic_has_one_output_or_one_for_each_bin():
    assert resolve(with_agent(critic_loss="mse"), CPU).value_outputs == 1
    assert resolve(with_agent(critic_loss="hl_gauss", value_bins=17), CPU).value_outputs == 17


def test_the_network_is_the_one_that_is_built():
    config = load_config("mt10")
    assert resolve(config, CPU).network == config.network
    config = load_config("mlp")
    plan = resolve(config, CPU)
    assert plan.network == matched_network(config.network, 10, OBS_SIZE, ACTION_SIZE, config.agent)
    assert plan.network.actor_hidden != config.network.actor_hidden
    few = replace(config, env=replace(config.env, tasks=config.env.task_names[:3]))
    assert resolve(few, CPU).network.actor_hidden < plan.network.actor_hidden  # fewer contexts
    assert plan.config is config


def test_a_plan_is_not_changed():
    with pytest.raises(FrozenInstanceError):
        resolve(load_config("mt10"), CPU).threads = 3


def test_simulators_are_in_the_main_memory_whatever_the_device(machine, monkeypatch):
    """A replay buffer on the GPU leaves the main memory to them; one on the CPU does not."""
    config = load_config("mt10")
    on_cpu = resolve(config, CPU)
    processes = on_cpu.workers + on_cpu.evaluation_workers
    simulators = simulator_bytes(50 + 50, processes, 10)
    assert simulators == 100 * 4_000_000 + processes * (350_000_000 + 10 * 4_000_000)
    for plan, needed in (
        (replace(on_cpu, replay_device=GPU), simulators),
        (on_cpu, simulators + on_cpu.replay_bytes),
    ):
        free = {"cpu": needed, "cuda": 10**12}
        monkeypatch.setattr(forecast, "free_bytes", lambda device, free=free: free[device.type])
        monkeypatch.setattr(replay, "free_bytes", lambda device: 10**12)
        forecast.require_memory(plan)
        free["cpu"] -= 1
        with pytest.raises(
            UsageError,
            match=r"100 simulators in 12 processes need [1-9]\.\d GB .*--env\.copies-per-task",
        ):
            forecast.require_memory(plan)


def test_simulators_on_a_ray_cluster_take_no_memory_here(machine, monkeypatch):
    plan = resolve(with_machine(workers=40, workers_backend="ray"), CPU)
    free = plan.replay_bytes + 10**9
    monkeypatch.setattr(forecast, "free_bytes", lambda device: free)
    monkeypatch.setattr(replay, "free_bytes", lambda device: free)
    forecast.require_memory(plan)
    here = resolve(with_machine(workers=40), CPU)
    with pytest.raises(UsageError, match=r"in 80 processes need .* --machine\.workers"):
        forecast.require_memory(here)


@pytest.mark.parametrize(
    ("preset", "episodes"),
    [
        ("mt10", 10 * (15 * 5 + 50)),  # 15 evaluations on five goals, a report on fifty
        ("paper", 10 * 3 * (300 + 1)),  # one goal, three times
        # 10 ends of a task, where all ten are evaluated, 40 evaluations of one task, the report
        ("mt10_one_by_one", 5 * (10 * 10 + 40) + 10 * 50),
    ],
)
def test_the_forecast_counts_the_steps_of_evaluations(preset: str, episodes: int) -> None:
    config = load_config(preset)
    assert evaluation_env_steps(config) == episodes * config.evaluation.horizon
