"""What emulated and real microcontrollers share: the firmware's build, the model's interface, the protocol's client."""
