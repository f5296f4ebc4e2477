"""Makes the shipped detector: scenes -> network -> ONNX -> model card (extra `train`, never on a device).

render (packs, scene) -> train (data, assign, network) -> export -> evaluate -> models/shelf.card.json
"""
