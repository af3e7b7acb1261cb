"""Tools around nnU-Net for scribble annotations: convert, generate, check, look at and score.

What the trainer's package, and other programs, may import from: `arguments`,
`dataset.label_set`, `dataset.preprocessed_plans`, `dataset.provenance`, `dataset.raw`,
`dataset.shapes`, `dataset.writing`, `draw.contact_sheet`, `evaluate.command`, `evaluate.summary`,
`images.image_files`, `images.segmentation_files`, `json_files`, `parallel`, `predict.verify`,
`problems`, `storage.file_sets`, `storage.folders`, `storage.interruptions`, `storage.locks`,
`storage.overlap`, `storage.workshop`, `storage.written_record`, `subcommands`, `trust.checkpoint`,
`trust.printable`, `wording`.
What docs/api.md names stays, too. Everything else may move.
"""
