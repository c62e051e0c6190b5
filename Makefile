# make demo   a camera through the real ROS 2 graph, with and without the scale prior
# make test   lint, types and every test
# make test-gpu   the tests that need an NVIDIA GPU; says of each that is skipped what it lacks
# make soak   the nodes' hold-up tests for long: ten minutes of load, a thousand broken messages, kills
# All set themselves up in .venv first; where a ROS install is sourced, its rclpy is used.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo_output
TESTS ?= tests
WORKERS ?= 2

ifdef ROS_DISTRO
VENV_FLAGS := --system-site-packages
EXTRAS := slam,train,dev
else
VENV_FLAGS :=
EXTRAS := slam,ros,train,dev
endif

DEMO_ARGUMENTS := --out "$(OUT)"
ifdef KITTI
DEMO_ARGUMENTS += --kitti "$(KITTI)" --sequence "$(or $(SEQUENCE),03)"
endif
ifdef KITTI_RAW
DEMO_ARGUMENTS += --kitti-raw "$(KITTI_RAW)" --drive "$(DRIVE)"
endif
ifdef DEPTH
DEMO_ARGUMENTS += --depth "$(DEPTH)"
endif

.PHONY: setup demo test test-gpu lint soak clean

setup: $(VENV)/.complete

$(VENV)/.complete: setup.py setup.cfg constraints.txt
	@echo "setting up $(VENV) (minutes the first time)"
	"$(PYTHON)" -m venv $(VENV_FLAGS) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

demo: setup
	$(BIN)/droid-bridge demo $(DEMO_ARGUMENTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

test-gpu: setup
	$(BIN)/python -m pytest -m gpu $(TESTS)

soak: setup
	SOAK_MINUTES=$(or $(MINUTES),10) SOAK_MESSAGES=1000 $(BIN)/python -m pytest --timeout 7200 -rP \
		tests/metric3d_ros/test_depth_node_holds_up.py tests/droid_bridge/test_droid_node_holds_up.py \
		tests/test_nodes_hold_up.py

clean:
	rm -rf $(VENV) demo_output build dist *.egg-info
