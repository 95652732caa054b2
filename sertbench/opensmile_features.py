"""openSMILE's feature sets: the one place that knows the package, which is an optional extra with a licence of its own.

Eyben, Wöllmer, Schuller, openSMILE, ACM Multimedia 2010. eGeMAPSv02: Eyben et al., The Geneva minimalistic acoustic
parameter set, IEEE Transactions on Affective Computing 2016. ComParE 2016: Schuller et al., Interspeech 2016.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

from sertbench.errors import ConfigError
from sertbench.feature_spec import SAMPLE_RATE

LICENCE = "openSMILE: audEERING Research License, research and private use only, no commercial use"
SETS = {"egemaps": "eGeMAPSv02", "compare2016": "ComParE_2016"}
LEAST = SAMPLE_RATE // 10  # samples; openSMILE gives NaN below 0.06 s, the frame of its pitch


def version() -> str:
    """The installed version. ConfigError, with what to type, if there is none."""
    try:
        return metadata.version("opensmile")
    except metadata.PackageNotFoundError:
        raise ConfigError(
            f"features {' and '.join(SETS)} need openSMILE, which is not installed. Type: "
            f"pip install 'sertbench[opensmile]'. Its licence: {LICENCE.partition(': ')[2]}. "
            "Or take --features functionals, which need nothing more"
        ) from None


def compute(kind: str, wave: np.ndarray) -> np.ndarray:
    """The values of one utterance, (88,) or (6373,) float32; `wave` is (n,), 16 kHz.

    Less than 0.1 s is padded with zeros.
    """
    padded = np.pad(wave, (0, max(0, LEAST - len(wave))))
    values: np.ndarray = extractor(kind)(padded, SAMPLE_RATE)
    return values.reshape(-1).astype(np.float32)


@cache
def extractor(kind: str) -> Any:
    """An openSMILE with the settings of a set; may be called by several threads at a time."""
    version()
    import opensmile

    return opensmile.Smile(getattr(opensmile.FeatureSet, SETS[kind]), opensmile.FeatureLevel.Functionals)
