"""A package, unlike the other folders of tests: opacus installs one of this name, which would hide a mere folder."""
