"""A pre-trained encoder as a block of a network that is trained; every switch that transformers turns on is said."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sertbench import pretrained

SPAN = 10  # frames of a mask, 0.2 s


class WaveformEncoder(nn.Module):
    """wav2vec 2.0, HuBERT, WavLM or data2vec-audio on waveforms: (B, samples) to (B, T, H).

    `checkpoint` is the hash that `pretrained.resolve` gives. Empty: a tiny wav2vec 2.0 with random weights, for checks
    without a checkpoint; a run always names one. `dropout` stands for every dropout of the encoder; blocks are never
    skipped (layerdrop), and units are never masked. While it is trained, each frame begins a mask of 10 frames with the
    probability `mask / 10` (SpecAugment along time with a learnt vector, Baevski et al. 2020), drawn from torch, which
    the harness seeds: transformers draws from numpy.
    """

    def __init__(self, checkpoint: str, dropout: float, mask: float, train_convolutions: bool) -> None:
        super().__init__()
        off = dict.fromkeys(("layerdrop", "mask_feature_prob", "final_dropout"), 0.0)
        names = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
        settings = {**off, **dict.fromkeys(names, dropout), "mask_time_prob": mask, "apply_spec_augment": mask > 0}
        self.mask = mask
        self.network: Any = load(checkpoint, settings)
        self.width: int = self.network.config.hidden_size
        if not train_convolutions:
            self.network.feature_extractor._freeze_parameters()

    def forward(self, waves: Tensor) -> Tensor:
        """Hidden states of the last layer, (B, T, H)."""
        masked = self.drawn(waves) if self.training and self.mask > 0 else None
        states: Tensor = self.network(waves, mask_time_indices=masked).last_hidden_state
        return states

    def drawn(self, waves: Tensor) -> Tensor:
        """Which frames are masked, (B, T), at least one span."""
        T = int(self.network._get_feat_extract_output_lengths(torch.tensor(waves.shape[1])))
        begins = torch.rand(len(waves), T, device=waves.device) < self.mask / SPAN
        begins[torch.arange(len(waves)), torch.randint(T, (len(waves),), device=waves.device)] = True
        spread = nn.functional.max_pool1d(nn.functional.pad(begins.float(), (SPAN - 1, 0)), SPAN, 1)
        return spread > 0


def load(checkpoint: str, settings: dict[str, Any]) -> Any:
    """The network of a checkpoint, or the tiny random one."""
    if checkpoint:
        return pretrained.load_network(pretrained.folder_of(checkpoint), **settings)
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, conv_dim=(16, 16, 16),
            conv_kernel=(10, 8, 8), conv_stride=(5, 8, 8), num_feat_extract_layers=3, num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2, feat_extract_norm="layer", do_stable_layer_norm=True, **settings,
        )
    )  # fmt: skip
