"""Reports: one HTML file that works offline, drawn from `results.json` and a few pictures.

Tables and charts are plain HTML and SVG, which need no script; the script moves the viewer and the
time line. Imports `pictures`, `results` and `scores`.
"""

from dgss_core.evaluation.report.gallery import Picture
from dgss_core.evaluation.report.write import build_report, write_report

__all__ = ['Picture', 'build_report', 'write_report']
