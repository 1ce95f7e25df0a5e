"""The service of the guide, as the guide writes it."""

import base64
import io
import os

import numpy as np
import torch
import torch.nn.functional as F
from flask import Flask, jsonify, request
from PIL import Image

app = Flask(__name__)

MODEL_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.pt")
model = torch.jit.load(MODEL_PATH, map_location="cpu")
model.eval()

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def preprocess(image_bytes):
    image = Image.open(io.BytesIO(image_bytes)).convert("RGB")
    image = image.resize((32, 24))
    array = np.array(image).astype(np.float32) / 255.0
    array = (array - MEAN) / STD
    array = np.transpose(array, (2, 0, 1))
    return torch.from_numpy(array).unsqueeze(0).float()


@app.route("/predict", methods=["POST"])
def predict():
    data = request.get_json()
    if "image" not in data:
        return jsonify({"error": "no image"}), 400
    image_bytes = base64.b64decode(data["image"])
    tensor = preprocess(image_bytes)
    with torch.no_grad():
        output = model(tensor)
        probabilities = F.softmax(output, dim=1)
        confidence, prediction = torch.max(probabilities, 1)
    return jsonify({"prediction": int(prediction.item()), "confidence": float(confidence.item())})


@app.route("/health")
def health():
    return jsonify({"status": "ok"})


if __name__ == "__main__":
    model(torch.randn(1, 3, 24, 32))
    app.run(host="0.0.0.0", port=5000)

# As the guide writes it:
# ruff: noqa: PTH100, PTH118, PTH120
# mypy: ignore-errors
