"""`fast` changes how a step is computed, not what: the parts that a CPU can run, and all of it where CUDA is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fitting import fit
from gan_steps import begun, setup_of
from torch import nn

from augment.dataset.images import LabelledImages
from augment.errors import ConfigError
from augment.gan import acceleration
from augment.gan.acceleration import Graphed, in_bfloat16
from augment.gan.diffaugment import OPERATIONS
from augment.gan.networks import NETWORKS, Shape
from augment.gan.steps import STEPS, one_stage_gradients
from augment.gan.training import make_batch_sampler, make_step, update_ema
from augment.generators.base import Outcome
from augment.generators.cgan import CganConfig

CPU = torch.device("cpu")
SMALL = CganConfig(width=4, latent_dim=8, batch_size=8, network="dcgan", steps=12, log_every=5)
SHAPE = Shape(num_classes=3, channels=1, image_size=12, width=4, latent_dim=8)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_bfloat16_returns_float32_and_uses_the_current_weights() -> None:
    network = nn.Bilinear(3, 2, 5, bias=False)
    x, y = torch.tensor([[1.0, 2.0, 1 / 3]]), torch.tensor([[0.7, -1.1]])

    def linear(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ network.weight[0] * b

    low = in_bfloat16(linear, CPU)
    for _ in range(2):
        answer = low(x, y)
        assert answer.dtype == torch.float32
        assert not torch.equal(answer, linear(x, y))
        torch.testing.assert_close(answer, linear(x, y), rtol=0.02, atol=0.02)
        with torch.no_grad():
            network.weight.mul_(-3)


@pytest.mark.parametrize("change", [{}, {"penalties": {"r1": 0.1, "r2": 0.1, "gradient-penalty": 1.0}}], ids=str)
def test_networks_get_the_gradients_of_float32_within_bfloat16(
    change: dict[str, object], shoes: LabelledImages
) -> None:
    gradients = []
    for precision in ("float32", "bfloat16"):
        config = SMALL.model_copy(update={**change, "precision": precision})
        state = begun(config, SHAPE)
        real, labels = make_batch_sampler(shoes, 8, torch.Generator().manual_seed(3))()
        one_stage_gradients(setup_of(state, config), real, labels, labels)
        gradients.append(
            [torch.cat([p.grad.flatten() for p in n.parameters()]) for n in (state.generator, state.discriminator)]
        )
    for plain, low in zip(*gradients, strict=True):
        assert not torch.equal(plain, low)
        assert (plain - low).norm() <= 0.05 * plain.norm()


def test_fast_is_refused_on_a_cpu(shoes: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fast is for CUDA devices, and this is cpu"):
        fit(shoes, SMALL.model_copy(update={"fast": True}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@needs_cuda
def test_a_graph_draws_and_adds_as_its_function_does() -> None:
    sums = []
    for graphed in (False, True):
        rng = torch.Generator("cuda").manual_seed(5)
        total = torch.zeros(4, device="cuda")

        def step(total: torch.Tensor = total, rng: torch.Generator = rng) -> None:
            total.add_(torch.rand(4, generator=rng, device="cuda")).mul_(1.5)

        call = Graphed(step, rng) if graphed else step
        for _ in range(9):
            call()
        sums.append(total.cpu())
    assert torch.equal(*sums)


@needs_cuda
@pytest.mark.parametrize("change", [{}, {"penalties": {"r1": 0.1}, "lecam": 0.1, "n_critic": 2}], ids=str)
@pytest.mark.parametrize("trainer", STEPS)
@pytest.mark.parametrize("network", NETWORKS)
def test_captured_steps_move_everything_as_eager_ones_do(
    network: str, trainer: str, change: dict[str, object], shoes: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SMALL.model_copy(update={**change, "network": network, "trainer": trainer, "fast": True})
    ends = []
    for eager_calls in (100, acceleration.EAGER_CALLS):  # never captured, and captured after three
        monkeypatch.setattr(acceleration, "EAGER_CALLS", eager_calls)
        state = begun(config, SHAPE, "cuda")
        step = make_step(shoes, state, config, setup_of(state, config))
        for _ in range(12):
            step(True)
        parameters = [*state.generator.parameters(), *state.discriminator.parameters()]
        ends.append((torch.cat([p.detach().flatten() for p in parameters]), state.loss_sums, state.rng.get_state()))
    (eager, sums, drawn), (captured, captured_sums, captured_drawn) = ends
    assert (eager - captured).norm() <= 1e-2 * eager.norm()
    torch.testing.assert_close(captured_sums, sums, rtol=1e-2, atol=1e-2)
    assert torch.equal(drawn, captured_drawn)


@needs_cuda
def test_a_fast_run_finishes_and_can_be_continued(shoes: LabelledImages, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"fast": True})
    assert fit(shoes, config, tmp_path / "run", device="cuda") == Outcome.FINISHED
    assert fit(shoes, config.model_copy(update={"steps": 20}), tmp_path / "run", device="cuda") == Outcome.FINISHED


@needs_cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")
@pytest.mark.parametrize("trainer", STEPS)
def test_a_step_never_waits_for_the_device(trainer: str, shoes: LabelledImages) -> None:
    config = SMALL.model_copy(update={"trainer": trainer, "lecam": 0.1, "augment": tuple(OPERATIONS)})
    state = begun(config, SHAPE, "cuda")
    step = make_step(shoes, state, config, setup_of(state, config))
    try:
        torch.cuda.set_sync_debug_mode("error")
        for done in range(1, 4):
            step(True)
            update_ema(state.ema, state.generator, config.ema_decay, done)
    finally:
        torch.cuda.set_sync_debug_mode("default")
