"""A video holds the frames that it is made of."""

from pathlib import Path

import numpy as np

from pipeline.export.video import write_video


def test_a_video_shows_its_frames(tmp_path: Path):
    import cv2

    frames = [np.full((32, 32, 3), (k * 60, 128, 255 - k * 60), np.uint8) for k in range(4)]
    write_video(frames, tmp_path / "m.mp4", 5)
    video = cv2.VideoCapture(str(tmp_path / "m.mp4"))
    for frame in frames:
        there, shown = video.read()
        assert there
        assert np.abs(shown[:, :, ::-1].mean((0, 1)) - frame[0, 0]).max() < 8
