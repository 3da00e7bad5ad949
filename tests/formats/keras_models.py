"""Small Keras models, an ordinary layer or idiom each; run by the child that has TensorFlow.

Each function returns a model with an open batch size. Weights are random but for batch
normalization's statistics, which are drawn so that folding them matters.
"""

import keras
import numpy as np
from keras import layers as L

IMAGE = (12, 10, 3)


def _model(shape, *stack):
    x = inputs = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return _settled(keras.Model(inputs, x))


def _settled(model):
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            n = layer.gamma.shape
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, n),
                    rng.normal(size=n),
                    rng.normal(size=n),
                    rng.uniform(0.5, 2, n),
                ]
            )
        elif isinstance(layer, L.Dense | L.Conv2D | L.Conv1D) and layer.use_bias:
            layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))
    return model


def conv_same_stride():
    return _model(IMAGE, L.Conv2D(5, 3, 2, "same", activation="relu"), L.Conv2D(4, (1, 3)))


def conv_batchnorm_relu6():
    return _model(IMAGE, L.Conv2D(6, 3, use_bias=False), L.BatchNormalization(), L.ReLU(6.0))


def conv_dilated():
    return _model(IMAGE, L.Conv2D(4, 3, padding="same", dilation_rate=2, activation="relu"))


def conv_dilated_valid():
    return _model(IMAGE, L.Conv2D(4, 3, dilation_rate=(2, 3)))


def depthwise():
    return _model(
        IMAGE,
        L.DepthwiseConv2D(3, 2, "same", use_bias=False),
        L.BatchNormalization(),
        L.ReLU(),
        L.DepthwiseConv2D(3, depth_multiplier=2),
    )


def depthwise_dilated():
    return _model(IMAGE, L.DepthwiseConv2D(3, padding="same", dilation_rate=2))


def separable():
    return _model(IMAGE, L.SeparableConv2D(6, 3, padding="same", activation="relu"))


def conv_transpose():
    return _model((5, 4, 3), L.Conv2DTranspose(4, 3, 2, "same"), L.Conv2DTranspose(2, 2, 2))


def conv_transpose_relu():
    return _model((5, 4, 3), L.Conv2DTranspose(4, 3, 2, "same", activation="relu"))


def conv_1d():
    return _model((20, 4), L.Conv1D(6, 5, 2, "same", activation="relu"), L.Conv1D(3, 3))


def conv_1d_dilated():
    return _model((20, 4), L.Conv1D(6, 3, padding="causal", dilation_rate=2), L.ReLU())


def pool_1d():
    return _model(
        (20, 4),
        L.MaxPooling1D(2),
        L.AveragePooling1D(3, padding="same"),
        L.GlobalAveragePooling1D(),
    )


def separable_1d():
    return _model((20, 4), L.SeparableConv1D(6, 3, padding="same"), L.GlobalMaxPooling1D())


def batchnorm_alone():
    return _model(IMAGE, L.BatchNormalization(), L.Conv2D(2, 1))


def batchnorm_after_add():
    x = keras.Input(IMAGE)
    a, b = L.Conv2D(4, 3, padding="same")(x), L.Conv2D(4, 1)(x)
    y = L.ReLU()(L.BatchNormalization()(L.Add()([a, b])))
    return _settled(keras.Model(x, y))


def leaky_relu():
    return _model(IMAGE, L.Conv2D(4, 3), L.LeakyReLU(negative_slope=0.1))


def hard_swish():
    return _model(IMAGE, L.Conv2D(4, 3), L.Activation("hard_swish"))


def swish():
    return _model(IMAGE, L.Conv2D(4, 3), L.Activation("swish"))


def sigmoid_tanh():
    return _model(IMAGE, L.Conv2D(4, 3, activation="sigmoid"), L.Conv2D(4, 3, activation="tanh"))


def relu_alone():
    return _model(IMAGE, L.ReLU(), L.Conv2D(2, 1), L.MaxPooling2D(2), L.ReLU())


def relu6_alone():
    return _model(IMAGE, L.MaxPooling2D(2), L.ReLU(6.0))


def hard_sigmoid():
    return _model(IMAGE, L.Conv2D(4, 3), L.Activation("hard_sigmoid"))


def global_average():
    return _model(IMAGE, L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(5, "softmax"))


def global_average_keepdims():
    return _model(IMAGE, L.Conv2D(4, 3), L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(3, 1))


def global_max():
    return _model(IMAGE, L.Conv2D(4, 3), L.GlobalMaxPooling2D(), L.Dense(5))


def flatten_dense():
    return _model(
        IMAGE,
        L.Conv2D(4, 3, 2),
        L.Flatten(),
        L.Dense(8, "relu"),
        L.Dropout(0.5),
        L.Dense(5, "softmax"),
    )


def reshape():
    return _model(IMAGE, L.Reshape((20, 18)), L.Reshape((-1, 6, 3)), L.Conv2D(2, 3))


def permute():
    return _model(IMAGE, L.Permute((3, 1, 2)), L.Conv2D(2, 2))


def dense_on_sequence():
    return _model((7, 6), L.Dense(5, "relu"), L.Dense(3))


def dense_on_image():
    return _model(IMAGE, L.Dense(5, "relu"))


def time_distributed():
    return _model(
        (4, 8, 8, 2), L.TimeDistributed(L.Conv2D(3, 3)), L.Reshape((4, 36 * 3)), L.Dense(4)
    )


def concatenate():
    x = keras.Input(IMAGE)
    y = L.Concatenate()(
        [L.Conv2D(3, 3, padding="same")(x), L.Conv2D(2, 1, activation="relu")(x), x]
    )
    return _settled(keras.Model(x, L.Conv2D(3, 1)(y)))


def concatenate_rows():
    x = keras.Input(IMAGE)
    return _settled(keras.Model(x, L.Concatenate(axis=1)([L.Conv2D(3, 1)(x), x])))


def arithmetic():
    x = keras.Input(IMAGE)
    a, b = L.Conv2D(3, 1)(x), L.Conv2D(3, 1, activation="relu")(x)
    y = L.Subtract()([L.Add()([a, b]), L.Multiply()([a, b])])
    return _settled(keras.Model(x, y))


def residual_relu():
    x = keras.Input(IMAGE)
    y = L.ReLU()(L.Add()([L.Conv2D(3, 3, padding="same")(x), x]))
    return _settled(keras.Model(x, y))


def squeeze_and_excite():
    x = keras.Input(IMAGE)
    c = L.Conv2D(8, 3)(x)
    s = L.GlobalAveragePooling2D()(c)
    s = L.Dense(8, "sigmoid")(L.Dense(2, "relu")(s))
    y = L.Multiply()([c, L.Reshape((1, 1, 8))(s)])
    return _settled(keras.Model(x, y))


def rescaling():
    return _model(IMAGE, L.Rescaling(1 / 127.5, offset=-1), L.Conv2D(2, 1))


def zero_padding():
    return _model(IMAGE, L.ZeroPadding2D(((0, 1), (2, 1))), L.Conv2D(3, 3, 2))


def zero_padding_alone():
    return _model(IMAGE, L.ZeroPadding2D(1))


def cropping():
    return _model(IMAGE, L.Cropping2D(((1, 2), (0, 3))), L.Conv2D(2, 1))


def upsample_nearest():
    return _model(IMAGE, L.UpSampling2D(2), L.Conv2D(2, 3))


def upsample_bilinear():
    return _model(IMAGE, L.UpSampling2D((2, 3), interpolation="bilinear"))


def resizing():
    return _model(IMAGE, L.Resizing(7, 15))


def softmax():
    return _model((11,), L.Softmax())


def softmax_on_image():
    return _model(IMAGE, L.Conv2D(4, 1), L.Softmax())


def average_pooling():
    return _model(IMAGE, L.AveragePooling2D(3, 2, "same"), L.AveragePooling2D(2))


def max_pooling():
    return _model(IMAGE, L.MaxPooling2D(3, 2, "same"), L.MaxPooling2D((2, 1)))


def slicing():
    x = keras.Input(IMAGE)
    return _settled(keras.Model(x, L.Conv2D(2, 1)(x[:, 1:9:2, ::3, :2])))


def slicing_drop_axis():
    x = keras.Input((6, 8))
    return _settled(keras.Model(x, L.Dense(3)(x[:, -1])))


def split():
    x = keras.Input((12, 10, 4))
    a, b = keras.ops.split(x, 2, axis=-1)
    return _settled(keras.Model(x, L.Add()([L.Conv2D(3, 1)(a), L.Conv2D(3, 1)(b)])))


def stack():
    x = keras.Input((6, 8))
    y = keras.ops.stack([L.Dense(5)(x), L.Dense(5, "relu")(x)], axis=1)
    return _settled(keras.Model(x, y))


def repeat_vector():
    return _model((6,), L.Dense(4), L.Reshape((1, 4)), L.UpSampling1D(3))


def sum_and_max():
    x = keras.Input(IMAGE)
    y = L.Conv2D(4, 3)(x)
    z = keras.ops.sum(y, axis=(1, 2)), keras.ops.max(y, axis=(1, 2)), keras.ops.mean(y, axis=(1, 2))
    return _settled(keras.Model(x, L.Dense(3)(L.Concatenate()(list(z)))))


def two_inputs():
    a, b = keras.Input((6,)), keras.Input((4,))
    return _settled(keras.Model([a, b], L.Dense(3)(L.Concatenate()([L.Dense(5)(a), b]))))


def two_outputs():
    x = keras.Input(IMAGE)
    y = L.Conv2D(4, 3, activation="relu")(x)
    return _settled(keras.Model(x, [L.Conv2D(2, 1)(y), L.GlobalAveragePooling2D()(y)]))


def grouped():
    return _model((8, 8, 4), L.Conv2D(8, 3, groups=2, padding="same"))


def ds_cnn():
    stack = [L.Conv2D(8, (5, 3), 2, "same", use_bias=False), L.BatchNormalization(), L.ReLU()]
    for _ in range(2):
        stack += [
            L.DepthwiseConv2D(3, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.ReLU(),
        ]
        stack += [L.Conv2D(8, 1, use_bias=False), L.BatchNormalization(), L.ReLU()]
    return _model((20, 10, 1), *stack, L.GlobalAveragePooling2D(), L.Dense(6, "softmax"))


def mobilenet_v2():
    make = keras.applications.MobileNetV2
    return _settled(make((32, 32, 3), alpha=0.35, weights=None, classes=5))
