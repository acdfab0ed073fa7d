"""From a C compiler to a whole model on the Raspberry Pi Zero's CPU (ARM1176, ARMv6), under qemu."""
