"""Pure parsers and printers: xl.cfg, xl's output, TOML, sd_notify, durations and sizes."""
