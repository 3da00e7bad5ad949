"""Model formats: sources of graphs (`.tflite` files, torch, Keras) and the `.tflite` writer."""
