"""The guide's own service: Flask and TorchScript, base64 JPEG in JSON, the class out; also under gunicorn."""

from __future__ import annotations

import logging
from typing import Any

import torch
from flask import Flask, jsonify, request

from engine import CASE, MODELS, PORT, decode_text

app = Flask(__name__)
model = torch.jit.load(str(MODELS / ("table.pt" if CASE == "tab" else "lite0.pt"))).eval()


@app.post("/predict")
def predict() -> Any:
    pixels = torch.from_numpy(decode_text(request.get_json()["image"])).unsqueeze(0)
    with torch.no_grad():
        return jsonify({"class": int(model(pixels).argmax())})


@app.post("/tab")
def tab() -> Any:
    with torch.no_grad():
        return jsonify({"probs": model(torch.tensor([request.get_json()["input"]])).tolist()})


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run(host="127.0.0.1", port=PORT, threaded=True)
