"""Wraps a bundle in what a team uses already: RAUC, SWUpdate, Mender, a Debian package, a wheel, firmware folders.

A form is one module and one line in ``forms.FORMS``. Its function is

    wrap(bundle: Held, work: Path, settings: <the form's record>, tools: Tools) -> Made

``bundle`` was checked to the last byte, and against the policy where one was given. ``work`` is an empty private
folder: the form writes one file or one folder into it, under the name that it is to have, checks it there with its own
tool where that is installed, and returns it; scratch files may lie beside it. ``order`` moves it to where the person
wants it, whole or not at all. ``settings`` is a record (``core.records.setting``): every field is an option of the
command (``app_name`` -> ``--app-name``; str, int, bool, ``X | None``, ``Literal``, ``tuple[str, ...]``), read strictly.
Keys are settings too, as paths; ``tools.passphrase(path)`` gives the passphrase of one when it has one.

What goes in besides the model: ``origin.origin_files(bundle)`` (who the bundle is, its core manifest and the signature
envelopes) for forms whose receiver has tools of its own, or ``origin.layout_files(bundle)`` (core and signatures as an
OCI layout) where ``edgegen_runtime`` checks it. All times are ``tools.moment``, all owners 0, all orders sorted.
"""
