"""Where a kernel runs, and what is done where it does not."""

import sys
import types
import warnings

import pytest
import torch

from nnunetv2_pclmix.method.triton_kernels import tried


@pytest.fixture
def module(monkeypatch):
    """A module in the place of a kernel's: what it gives, and torch's twice of a tensor."""

    def made(launch):
        name = "some_growth_triton"
        fake = types.ModuleType(name)
        fake.launch, fake.examples = launch, lambda: [(torch.ones(2),), (torch.zeros(3),)]
        monkeypatch.setitem(sys.modules, name, fake)
        tried.cache_clear()
        return name

    yield made
    tried.cache_clear()


def by_torch(x):
    return 2 * x


def test_a_kernel_that_gives_what_torch_gives_is_taken(module):
    name = module(lambda x: x + x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel = tried(name, by_torch)
    assert kernel.why_not == "" and kernel.launch(torch.ones(1)).item() == 2


def failing(x):
    raise OSError("no C compiler")


@pytest.mark.parametrize(
    "launch, why",
    [
        (failing, "OSError: no C compiler"),
        (lambda x: 3 * x, "ValueError: its result is not that of torch"),
    ],
)
def test_one_that_fails_or_gives_something_else_is_named_once(module, launch, why):
    name = module(launch)
    with pytest.warns(UserWarning, match=f"^some growth takes many small steps: {why}$") as said:
        assert tried(name, by_torch) == tried(name, by_torch) == (None, why)
    assert len(said) == 1


def test_without_a_gpu_the_kernels_of_this_package_say_so():
    from nnunetv2_pclmix.method import stroke_growth, stroke_spread

    if torch.cuda.is_available():
        assert {stroke_growth.kernel().why_not, stroke_spread.kernel().why_not} == {""}
        return
    for part in (stroke_growth, stroke_spread):
        tried.cache_clear()
        with pytest.warns(UserWarning, match="takes many small steps"):
            assert part.kernel().launch is None
