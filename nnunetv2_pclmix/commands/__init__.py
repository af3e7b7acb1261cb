"""The sub-commands of `nnunetv2_pclmix`."""
