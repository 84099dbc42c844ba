"""Write tiny data sets of LiDAR and cameras in their own layouts.

The vehicle drives along x at 10 m/s and looks along it; the world is a square of points
on the ground and a red and a blue wall, so that what each camera sees is known.
"""

import itertools
import json

import numpy as np
from PIL import Image

CAMERAS = ("CAM_FRONT", "CAM_BACK")
SIZE_WH = (64, 36)
INTRINSICS = [[32.0, 0, 31.5], [0, 32.0, 17.5], [0, 0, 1]]
LIDAR_HEIGHT_M = 1.8
SPEED_M_S = 10.0
CATEGORIES = {"vehicle.car": 17, "flat.driveable_surface": 24, "static.manmade": 28}


def world(num=400, seed=0):
    """Return points of a road and of two walls left and right of it, and their ids."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-20, 40, num), rng.uniform(-5, 5, num)
    road = np.stack([x, y, np.zeros(num)], 1)
    side = np.where(np.arange(num) % 2, 6.0, -6.0)
    walls = np.stack([rng.uniform(-20, 40, num), side, rng.uniform(0, 4, num)], 1)
    return np.concatenate([road, walls]), np.repeat([24, 28], num)


def quaternion(yaw):
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def camera_quaternion(back):
    """Return w, x, y, z of a camera that looks along +x or -x of the vehicle."""
    return [0.5, 0.5, 0.5, -0.5] if back else [0.5, -0.5, 0.5, -0.5]


def rotation(q):
    """Return the matrix of a quaternion, by rotating the axes one by one."""
    w, v = q[0], np.array(q[1:])
    axes = np.eye(3)
    turned = [
        a + 2 * w * np.cross(v, a) + 2 * np.cross(v, np.cross(v, a)) for a in axes
    ]
    return np.stack(turned, 1)


def paint(path, size_wh=SIZE_WH):
    """Write a picture: a grey lower half, red to the left and blue to the right."""
    width, height = size_wh
    rgb = np.full((height, width, 3), 120, np.uint8)
    rgb[: height // 2, : width // 2] = (200, 30, 30)
    rgb[: height // 2, width // 2 :] = (30, 30, 200)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, quality=95)


class NuScenesFiles:
    """Writes a version of nuScenes; `tables` may be changed before `save`."""

    def __init__(self, root, version="v1.0-mini", far=(400.0, 1200.0, 0.0)):
        self.root, self.version, self.far = root, version, np.array(far)
        self.tokens = (f"{n:032x}" for n in itertools.count(1))
        self.tables = {
            name: []
            for name in (
                *("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor"),
                *("sensor", "category", "lidarseg", "attribute", "visibility"),
                *("instance", "sample_annotation", "log", "map"),
            )
        }
        self.mounts = {}
        for channel in ("LIDAR_TOP", "RADAR_FRONT", *CAMERAS):
            self._mount(channel)
        for name, index in CATEGORIES.items():
            self._add("category", name=name, description="", index=index)

    def _add(self, table, **row):
        token = next(self.tokens)
        self.tables[table].append({"token": token, **row})
        return token

    def _mount(self, channel):
        kind = {"L": "lidar", "R": "radar", "C": "camera"}[channel[0]]
        sensor = self._add("sensor", channel=channel, modality=kind)
        camera = kind == "camera"
        self.mounts[channel] = self._add(
            "calibrated_sensor",
            sensor_token=sensor,
            translation=[0.5, 0.0, 1.5] if camera else [1.0, 0.0, LIDAR_HEIGHT_M],
            # The LiDAR's x axis points to the right of the vehicle, as the real one's.
            rotation=camera_quaternion(channel == "CAM_BACK")
            if camera
            else quaternion(-np.pi / 2),
            camera_intrinsic=INTRINSICS if camera else [],
        )

    def _ego(self, time_s):
        """Return the vehicle's place at a time: along a line turned by 30 degrees."""
        turn = rotation(quaternion(np.pi / 6))
        place = self.far + turn @ [SPEED_M_S * time_s, 0, 0]
        return place, turn

    def _shot(self, channel, sample, time_s, file, is_keyframe, size=(0, 0)):
        place, _ = self._ego(time_s)
        time = 1_500_000_000_000_000 + round(1e6 * time_s)
        ego = self._add(
            "ego_pose",
            timestamp=time,
            rotation=quaternion(np.pi / 6),
            translation=place.tolist(),
        )
        return self._add(
            "sample_data",
            sample_token=sample,
            ego_pose_token=ego,
            calibrated_sensor_token=self.mounts[channel],
            timestamp=time,
            fileformat="pcd",
            is_key_frame=is_keyframe,
            width=size[0],
            height=size[1],
            filename=file,
            prev="",
            next="",
        )

    def _sweep(self, file, time_s, seed):
        """Write what the LiDAR sees at a time; returns the ids of its points."""
        points, ids = world(seed=seed)
        place, turn = self._ego(time_s)
        # The world lies relative to where the drive begins, turned with the road.
        absolute = self.far + points @ turn.T
        vehicle = (absolute - place) @ turn
        mount = rotation(quaternion(-np.pi / 2))
        seen = (vehicle - [1.0, 0, LIDAR_HEIGHT_M]) @ mount
        record = np.zeros((len(seen), 5), np.float32)
        record[:, :3] = seen
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        record.tofile(path)
        return ids.astype(np.uint8)

    def scene(self, name, keyframes=2, between=4):
        """Add a scene: keyframes every half second, sweeps between them."""
        scene = self._add("scene", name=name, description="", nbr_samples=keyframes)
        for key in range(keyframes):
            start = 0.5 * key
            sample = self._add("sample", scene_token=scene, timestamp=key)
            for step in range(between if key else 0, -1, -1):
                when = start - 0.5 * step / (between + 1)
                folder = "sweeps" if step else "samples"
                file = f"{folder}/LIDAR_TOP/{name}__{round(1e6 * when):08d}.pcd.bin"
                ids = self._sweep(file, when, seed=7 * key + step)
                shot = self._shot("LIDAR_TOP", sample, when, file, step == 0)
            self._labels(shot, ids)
            self._shot("RADAR_FRONT", sample, start, "samples/RADAR_FRONT/x.pcd", True)
            for late, channel in enumerate(CAMERAS):
                when = start + 0.02 * (late + 1)
                image = f"samples/{channel}/{name}__{key}.png"
                paint(self.root / image)
                self._shot(channel, sample, when, image, True, SIZE_WH)
        return self

    def _labels(self, shot, ids):
        file = f"lidarseg/{self.version}/{shot}_lidarseg.bin"
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        ids.tofile(path)
        self._add("lidarseg", sample_data_token=shot, filename=file)

    def save(self):
        folder = self.root / self.version
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            (folder / f"{name}.json").write_text(json.dumps(rows, indent=0))
        return self.root


def write_nuscenes(root, train=("scene-0061",), val=("scene-0103",), keyframes=2):
    """Write a version with two splits of its own."""
    files = NuScenesFiles(root)
    (root / "splits").mkdir(parents=True)
    for split, names in (("train", train), ("val", val)):
        (root / "splits" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            files.scene(name, keyframes)
    return files.save()


KITTI_TR = [[0, -1, 0, 0.0], [0, 0, -1, -0.1], [1, 0, 0, -0.3]]
KITTI_OFFSET_M = 0.06  # camera 2 stands so much to the left of camera 0
KITTI_IDS = {24: 40, 28: 50}  # road, building


def write_kitti(root, sequence=8, sweeps=3, moving=False):
    """Write a sequence of SemanticKITTI: 1 m forward at each sweep."""
    folder = root / "sequences" / f"{sequence:02d}"
    for part in ("velodyne", "labels"):
        (folder / part).mkdir(parents=True)
    projection = np.zeros((3, 4))
    projection[:, :3] = INTRINSICS
    projection[0, 3] = INTRINSICS[0][0] * KITTI_OFFSET_M
    calibration = {"P0": INTRINSICS, "P2": projection, "Tr": np.array(KITTI_TR)}
    calibration["P0"] = np.pad(np.array(INTRINSICS), ((0, 0), (0, 1)))
    lines = [
        f"{k}: {' '.join(f'{v:.12e}' for v in matrix.ravel())}"
        for k, matrix in calibration.items()
    ]
    (folder / "calib.txt").write_text("\n".join(lines) + "\n")
    tr = np.vstack([KITTI_TR, [0, 0, 0, 1]])
    poses = []
    for number in range(sweeps):
        points, ids = world(seed=number)
        record = np.zeros((len(points), 4), np.float32)
        record[:, :3] = points - [number, 0, LIDAR_HEIGHT_M]
        record.tofile(folder / "velodyne" / f"{number:06d}.bin")
        stored = np.vectorize(KITTI_IDS.get)(ids).astype(np.uint32)
        if moving:
            stored[:10] = 252  # a moving car
        (stored | 7 << 16).tofile(folder / "labels" / f"{number:06d}.label")
        paint(folder / "image_2" / f"{number:06d}.png")
        moved = np.eye(4)
        moved[0, 3] = number
        poses.append((tr @ moved @ np.linalg.inv(tr))[:3].ravel())
    np.savetxt(folder / "poses.txt", poses)
    return root
