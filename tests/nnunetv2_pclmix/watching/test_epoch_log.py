"""The log's own lines of an epoch."""

from nnunetv2_pclmix.watching.epoch_log import epoch_lines


def test_terms_with_weights_and_single_shares():
    shares = {"agreement": 0.98765, "memory_fill": [0.5, 1.0]}
    assert epoch_lines({"a": 0.12345, "b": 2.0}, {"a": 1.0, "b": 0.05}, shares) == [
        "PCLMix terms (mean, x weight at the end of the epoch): a 0.1235 x 1, b 2.0000 x 0.05",
        "PCLMix shares: agreement 0.9877",
    ]
