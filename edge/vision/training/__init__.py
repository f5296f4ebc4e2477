"""Makes and judges the detector (`cornergrid-edge vision`); what needs the extra `train` says so.

    packs -> bank -> fixtures, surroundings -> render -> lens -> scenes    rendered shelves
    scenes, labels -> data -> train (assign, network, frozen) -> export    a checkpoint, then ONNX
    labels, scenes -> judge, score -> evaluate                             models/shelf.card.json

Only data, network, assign, frozen, train, weights and export import PyTorch: a device can judge a model.
"""
