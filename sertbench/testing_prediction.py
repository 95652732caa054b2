"""Checks of what a trained network predicts: the same for an item alone, in a batch, in any order, saved and loaded."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import torch
from torch.nn import functional

from sertbench.errors import PluginError, few
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.model import NeuralModel
from sertbench.network import Network
from sertbench.optimisation import make_optimiser
from sertbench.plugin_import import RAISES, said
from sertbench.testing_sounds import Sounds, as_in_a_fit, differ, inputs, make, predict_fresh, step, trained

STATELESS = (
    "keep nothing between two calls of forward (a hidden state on self, a running mean outside of training). Start "
    "every batch from the same state, e.g. call nn.LSTM without a state"
)
SHORTEST, LONGEST = 0.1, 35.0  # seconds of the utterances that corpora have (MELD's shortest, IEMOCAP's longest)
EQUAL = 1e-5  # relative to the largest logit: what float32 sums in another order may differ by


@as_in_a_fit()
def predicts_without_chance(cls: type[NeuralModel]) -> None:
    """The same input has the same logits in eval mode, whatever the random state."""
    data = inputs(cls, 6)
    network = trained(cls, data)
    if differ(predict_fresh(network, data, 0), predict_fresh(network, data, 1), 0.0):
        raise PluginError(
            "the same input gives other logits each time in eval mode: switch the randomness off there. Use "
            "nn.Dropout, or functional.dropout(x, p, self.training); and keep nothing on the class or module"
        )


@as_in_a_fit()
def predicts_each_item_alone(cls: type[NeuralModel]) -> None:
    """In eval mode an item's logits do not depend on the rest of its batch, nor on the order."""
    data = inputs(cls, 6)
    network = trained(cls, data)
    together = predict_fresh(network, data)
    backwards = predict_fresh(network, data.take(*reversed(range(6)))).flip(0)
    alone = torch.cat([predict_fresh(network, data.take(i)) for i in range(6)])
    for how, other in (("in another order", backwards), ("alone", alone)):
        if gap := differ(together, other, EQUAL):
            raise PluginError(
                f"an item's logits differ by {gap:.1e} (relative) when it is predicted {how} instead of with others: "
                "in eval mode nothing may be computed over the batch axis (a mean or norm over dim 0, batch "
                "normalisation without running statistics)"
            )


@as_in_a_fit()
def keeps_no_state(cls: type[NeuralModel]) -> None:
    """A batch changes nothing: neither the buffers in eval mode, nor what the next batch gets, nor its training."""
    data = inputs(cls, 6)
    network = make(cls, data.input_shape)
    optimiser, _ = make_optimiser(cls.recipe, network)
    first, other = data.take(0, 1, 2), data.take(3, 4)
    step(network, data, optimiser)
    try:
        with torch.no_grad():
            before, logits = copy.deepcopy(network.eval().state_dict()), []
            for part in (first, other, first):
                torch.manual_seed(0)
                logits.append(network(part.x, part.lengths))
            changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
        step(network, first, optimiser)
    except RAISES as error:  # every batch works for a fresh network: output_shape comes first
        raise PluginError(f"the first batch works and a later one fails ({said(error)}): {STATELESS}") from error
    if changed:
        raise PluginError(f"predicting changes {few(changed)}: {STATELESS}")
    if differ(logits[0], logits[2], 0.0) and not random_at_once(network, cls, first):
        raise PluginError(f"a batch's logits change after another batch: {STATELESS}")


@torch.no_grad()
def random_at_once(network: Network, cls: type[NeuralModel], data: Sounds) -> bool:
    """Whether new networks with the same weights differ in their first batch: that is chance, and no kept state."""

    def logits() -> torch.Tensor:
        twin = make(cls, data.input_shape)
        twin.load_state_dict(network.state_dict())
        torch.manual_seed(0)
        found: torch.Tensor = twin.eval()(data.x, data.lengths)
        return found

    return differ(logits(), logits(), 0.0) is not None


@as_in_a_fit()
def ignores_padding(cls: type[NeuralModel]) -> None:
    """Frames past an utterance's length change nothing."""
    data = inputs(cls, 6)
    network = trained(cls, data)
    own = [
        predict_fresh(network, Sounds(data.x[i : i + 1, :, :n], data.lengths[i : i + 1], data.targets[i : i + 1]))
        for i, n in enumerate(data.lengths.tolist())
    ]
    longer = replace(data, x=functional.pad(data.x, (0, 37)))
    for how, other in (("in a batch with longer ones", data), ("padded by 37 frames", longer)):
        if gap := differ(torch.cat(own), predict_fresh(network, other), EQUAL):
            raise PluginError(
                f"an utterance's logits differ by {gap:.1e} (relative) when it is {how}: frames past `lengths` must "
                "not count. Mask them in pooling and attention (sertbench.layers.masked_mean, AttentionPooling), run "
                "backward recurrences from the last valid frame (BLSTM), and mask again after a convolution"
            )


@as_in_a_fit()
@torch.no_grad()
def takes_any_duration(cls: type[NeuralModel]) -> None:
    """Utterances as short and as long as corpora have them give finite logits."""
    spec = cls.recipe.features
    assert spec is not None, "has_features comes first"
    network = make(cls, inputs(cls, 2).input_shape).eval()
    for seconds in (SHORTEST, LONGEST):
        T = spec.frames(round(seconds * SAMPLE_RATE))
        try:
            fine = network(torch.randn(1, spec.rows, T), torch.tensor([T])).isfinite().all()
            fault = "" if fine else "logits that are not finite"
        except RAISES as error:
            fault = said(error)
        if fault:
            raise PluginError(
                f"an utterance of {seconds:g} s ({T} frames) gives {fault}. Corpora have such: pad short ones with "
                "zeros in forward where a kernel or a pooling needs more frames, and make positions for any length"
            )


@as_in_a_fit()
def saves_and_loads(cls: type[NeuralModel]) -> None:
    """All that was learnt is in the state dict."""
    data = inputs(cls, 6)
    network = trained(cls, data)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded = make(cls, data.input_shape, seed=1)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    if differ(predict_fresh(network, data), predict_fresh(loaded, data), 0.0):
        raise PluginError(
            "a network that is saved and loaded gives other logits: what was learnt is not in its state_dict. Make "
            "tensors nn.Parameter or register_buffer, and hold layers in nn.ModuleList, not in a plain list"
        )
