"""One package, two homes: `colcon build` (ament_python) and `pip install .`."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

VERSION = '0.1.0'
WHEELS = 'sys_platform == "linux" and platform_machine == "x86_64"'
RUNTIME = [
    'av',
    'numpy',
    'opencv-python<5',  # cv_bridge reads the type numbers of OpenCV 4
    'onnxruntime',
    'pi-heif',
    'pillow',
    'pyyaml',
    'mcap>=1.2',
    'rosbags>=0.11.7',
    'jsonargparse[signatures]>=4.52',
    'rich',
]
GENERATE = ['accelerate', 'diffusers>=0.41', 'transformers>=5']
EXTRAS = {
    # Stands in for a ROS 2 installation where there is none; never beside one.
    'ros': [
        f'{name}; {WHEELS}'
        for name in (
            'ros-rclpy[fastrtps]==7.1.6',
            'ros-diagnostic-msgs==5.3.6',
            'ros-lifecycle-msgs==2.0.3',
            'ros-sensor-msgs==5.3.6',
            'ros-std-msgs==5.3.6',
            'ros-std-srvs==5.3.6',
        )
    ],
    'train': [
        'lightning-fabric>=2.5',
        'onnxscript',
        'open_clip_torch>=3.2',
        'safetensors',
        'scipy',
        'tensorboard',
        'timm>=1.0.20',
        'torch>=2.6',
        'torchvision>=0.21',
    ],
    'generate': GENERATE,
    'fleet': ['ray>=2.60'],  # dgss evaluate --address; earlier ones ask for no token
    'rerun': ['rerun-sdk>=0.39'],  # dgss evaluate --export rerun
    'openvino': ['openvino'],
    'tensorrt': ['tensorrt', 'cuda-python'],
    'tensorrt-rtx': ['tensorrt-rtx', 'cuda-python'],
    'dev': [
        *GENERATE,
        # Engines are built, and the CPU is used best, on any x86-64 machine.
        *(
            f'{name}; {WHEELS}'
            for name in ('cuda-python', 'openvino', 'ray', 'rerun-sdk', 'tensorrt-rtx')
        ),
        'axe-core-python',  # axe.min.js, for the tests of the reports in Chromium
        'hypothesis',
        'import-linter>=2.15',
        'mypy',
        'pre-commit',
        'pytest',
        'pytest-timeout',
        'pytest-xdist',
        'ruff',
        'selenium>=4.20',
        'setuptools>=70,<82',  # builds the example plugin without a network
        'torchmetrics',
    ],
    'test': ['hypothesis', 'onnx', 'pytest', 'pytest-timeout'],
}

setup(
    name='dgss_ros',
    version=VERSION,
    description='Semantic masks that stay right at night and in bad weather, for ROS 2',
    # colcon build --symlink-install runs a link to this file, in a folder without a README.
    long_description=Path(__file__).resolve().with_name('README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    maintainer='dgss_ros maintainers',
    maintainer_email='maintainers@example.org',
    python_requires='>=3.10',
    packages=find_packages(include=['dgss_core*', 'dgss_ros*']),
    package_data={
        'dgss_core': [
            'label_sets/*.yaml',
            'datasets/*.yaml',
            'datasets/catalog/*.yaml',
            '*.pyi',
            'py.typed',
            'commands/*.in',
            'evaluation/conditions.json',
            'evaluation/report/report.*',
            'networks/text/data/*',
            'published/*.yaml',
            'published/catalog/*.yaml',
            'runtime/bundles/*/*',
            'runtime/bundles/*/frames/*',
        ],
        'dgss_ros': ['node/*.xml'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/dgss_ros']),
        ('share/dgss_ros', ['package.xml']),
        ('share/dgss_ros/launch', glob('launch/*.launch.py')),
        *(
            (f'share/dgss_ros/{folder}', glob(f'{folder}/*.*'))
            for folder in (
                'config',
                'config/foxglove',
                'config/nav2',
                'config/rviz',
                'config/sros2',
                'config/train',
            )
        ),
    ],
    install_requires=RUNTIME,
    extras_require=EXTRAS,
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'dgss = dgss_core.cli:main',
            'segment_node = dgss_ros.__main__:main',
        ],
    },
)
