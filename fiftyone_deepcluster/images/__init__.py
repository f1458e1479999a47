"""From image files to batches of tensors: decoding, the cache of decoded images, augmentation on the device."""
