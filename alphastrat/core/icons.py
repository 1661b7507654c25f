"""Line icons, drawn on a 20 by 20 grid, as SVG path data."""

from __future__ import annotations

ICONS: dict[str, str] = {
    "overview": "M3 3h6v6H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 11h6v6H3z",
    "strategies": "M3 15l4-6 3 3 6-8M12.5 4H16v3.5",
    "signals": "M10 3v14M10 3l-3 3M10 3l3 3M4 12v5M16 12v5",
    "alerts": "M5 14V9a5 5 0 0110 0v5l1.5 1.5h-13zM8.5 17.5h3",
    "verification": "M10 2.5l6 2.2v4.6c0 4-2.5 6.6-6 8.2-3.5-1.6-6-4.2-6-8.2V4.7zM7.3 10l2 2 3.6-4",
    "backtests": "M4 10a6 6 0 106-6H5.5M8 1.5L5.3 4 8 6.6M10 7v3.4l2.4 1.4",
    "compare": "M6 3v14M14 3v14M3 6h6M3 12h6M11 8h6M11 14h6",
    "scanner": "M3 6V3h3M14 3h3v3M17 14v3h-3M6 17H3v-3M3 10h14",
    "optimisations": "M4 17v-6M4 7V3M10 17v-3M10 10V3M16 17V9M16 5V3M2.5 11h3M8.5 10h3M14.5 9h3",
    "instruments": "M6 2.5v3M6 12v5.5M4 5.5h4V12H4zM14 2.5v4M14 14v3.5M12 6.5h4V14h-4z",
    "imports": "M10 3v9M6.5 8.5L10 12l3.5-3.5M3 13v4h14v-4",
    "allocation": "M10 3a7 7 0 107 7h-7zM13 3.2A7 7 0 0116.8 7H13z",
    "correlation": "M3 3h5v5H3zM12 12h5v5h-5zM12 3h5v5h-5zM3 12h5v5H3z",
    "performance": "M3 3v14h14M6 13v-3M10 13V7M14 13V5",
    "risk": "M10 3l7.5 13.5h-15zM10 8.5v4M10 14.3v.2",
    "rebalancing": "M3 7h12l-3-3M17 13H5l3 3",
    "thresholds": "M3 13h14M3 6.5l3.5 3 3.5-5 3 4 4-5.5M3 17h14",
    "reports": "M5 2.5h7l3.5 3.5v11.5H5zM12 2.5V6h3.5M7.5 10h5M7.5 13.5h5",
    "jobs": "M10 3a7 7 0 107 7M10 6v4l3 2M14 3.5h3v3",
    "system": "M3 4h14v5H3zM3 11h14v5H3zM6 6.5h.1M6 13.5h.1M9 6.5h5M9 13.5h5",
    "settings": "M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4",
    "search": "M8.5 3a5.5 5.5 0 100 11 5.5 5.5 0 000-11zM12.6 12.6L17 17",
    "menu": "M3 5.5h14M3 10h14M3 14.5h14",
    "pause": "M7 4v12M13 4v12",
    "account": "M10 3.5a3 3 0 100 6 3 3 0 000-6zM4 17c.6-3 3-4.5 6-4.5s5.4 1.5 6 4.5",
    "portfolio": "M3 7h14v9.5H3zM7.5 7V4h5v3M3 11h14",
    "download": "M10 3v9M6.5 8.5L10 12l3.5-3.5M4 16.5h12",
    "table": "M3 4h14v12H3zM3 8h14M3 12h14M8.5 4v12",
    "chart": "M3 3v14h14M6 12l3-4 3 2 4-5",
    "plus": "M10 4v12M4 10h12",
    "close": "M5 5l10 10M15 5L5 15",
    "check": "M4 10.5l4 4 8-9",
    "copy": "M7 7h9v9H7zM4 13V4h9",
    "help": (
        "M7.5 7.5a2.5 2.5 0 113.7 2.2c-.8.5-1.2 1-1.2 1.8M10 14.5v.2"
        "M10 2.5a7.5 7.5 0 100 15 7.5 7.5 0 000-15z"
    ),
    "retry": "M16 10a6 6 0 11-1.8-4.3L16 7.5M16 3.5v4h-4",
    "upload": "M10 13V4M6.5 7.5L10 4l3.5 3.5M4 16.5h12",
    "chevron": "M7 4l6 6-6 6",
    "empty": "M3 11l2-7h10l2 7M3 11v5.5h14V11h-4.5l-1 2.5h-3l-1-2.5z",
}
