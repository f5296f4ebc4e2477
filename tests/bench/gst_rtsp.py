"""H.264 over RTSP by GStreamer, in pictures that tell when they were taken: `gst_rtsp.py PORT`, by Debian's python3.

Needs `apt install gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad,ugly} python3-gi`. The picture is that
of `tests/edge/vision/clock_camera.py`, drawn without NumPy, which that python3 may not have.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import gi  # type: ignore[import-not-found, unused-ignore]  # Debian's, not in the project's environment

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found, unused-ignore]  # noqa: E402  # as above

WIDTH, HEIGHT, FPS = 320, 240, 5
LINE = (f"( appsrc name=src is-live=true do-timestamp=true format=time caps=video/x-raw,format=I420,width={WIDTH},"
        f"height={HEIGHT},framerate={FPS}/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={2 * FPS} ! "
        "rtph264pay name=pay0 pt=96 config-interval=1 )")


def picture() -> bytes:
    """One I420 picture of this moment."""
    ms = round(time.monotonic() * 1000)
    rows = (b"".join((b"\xc8" if ms >> (row * 8 + column) & 1 else b"\x32") * (WIDTH // 8) for column in range(8))
            for row in range(5))
    return b"".join(row * (HEIGHT // 5) for row in rows) + b"\x80" * (WIDTH * HEIGHT // 2)


class Factory(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc, unused-ignore]  # untyped, as above
    """Makes the stream when the first player comes."""

    def do_create_element(self, _url: Any) -> Any:
        return Gst.parse_launch(LINE)

    def do_configure(self, media: Any) -> None:
        source = media.get_element().get_child_by_name("src")

        def push() -> bool:
            source.emit("push-buffer", Gst.Buffer.new_wrapped(picture()))
            return True

        timer = GLib.timeout_add(1000 // FPS, push)
        media.connect("unprepared", lambda *_: GLib.source_remove(timer))


def main(port: str) -> None:
    """Serve rtsp://127.0.0.1:PORT/shelf until killed."""
    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer(), Factory()
    server.set_service(port)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/shelf", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1])
