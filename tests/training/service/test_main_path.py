"""Run -> launched -> epochs -> model registered -> promoted."""

from launcher_double import METRICS

from terrazzo_schema.ids import content_hash


def test_a_run_becomes_a_promoted_model(desk):
    run = desk.create_run(seed=7, eval_ref="held-out")
    assert (run["state"], run["num_epochs"], run["config"]) == ("queued", 3, {"epochs": 3})

    desk.turn()
    started = desk.run(run["run_id"])
    assert (started["state"], started["commit_id"], started["eval_commit_id"]) == ("running", "a" * 64, "b" * 64)

    desk.launcher.epoch(1, loss=1.5)
    desk.launcher.epoch(2, loss=1.0)
    desk.turn()
    assert [epoch["loss"] for epoch in desk.run(run["run_id"])["epochs"]] == [1.5, 1.0]

    desk.launcher.finish()
    desk.turn()
    done = desk.run(run["run_id"])
    assert (done["state"], done["reason"]) == ("succeeded", None)

    model = desk.call("GET", f"models/{done['model_id']}").json()
    assert (model["version"], model["model_name"], model["state"]) == (1, "seg-prj_test0001", "registered")
    answer = desk.call("POST", f"models/{model['model_id']}/promote", {}).json()
    assert answer["promoted"]
    assert answer["model"]["state"] == "promoted"
    assert desk.names_said() == [
        "RunStarted", "RunProgress", "RunProgress", "RunFinished", "ModelRegistered", "ModelPromoted",
    ]  # fmt: skip
    promoted = desk.said()[-1]
    assert (promoted.key, promoted.message.version, promoted.message.miou) == ("prj_test0001", 1, 0.5)


def test_the_trainer_is_told_everything_that_decides_the_result(desk):
    run = desk.create_run(seed=7, config={"epochs": 2, "arch": "fast_scnn"})
    desk.turn()
    job = desk.launcher.jobs[0]
    assert (job.config["run_id"], job.config["seed"], job.config["arch"]) == (run["run_id"], 7, "fast_scnn")
    assert (job.config["commit_id"], job.config["held_out_percent"]) == ("a" * 64, 20)
    assert [c["id"] for c in job.config["classes"]] == [1, 2, 3, 4]
    assert [c["parent_id"] for c in job.config["classes"]] == [None, None, 2, 2]
    principal = desk.ports.authority.verify(job.key)
    assert (principal.role, principal.organisation_id) == ("trainer", "org_test0001")


def test_the_model_knows_its_lineage_and_figures(desk):
    first = desk.trained(seed=3)
    second = desk.trained(miou=0.6, init_from=first["model_id"], eval_ref="held-out")
    assert (second["version"], second["parent_model_id"]) == (2, first["model_id"])
    assert (second["commit_id"], second["eval_commit_id"]) == ("a" * 64, "b" * 64)
    assert first["eval_commit_id"] == first["commit_id"]
    assert (first["seed"], first["arch"], first["code_version"]) == (3, "unet_small", "terrazzo 0, trainer test")
    assert first["config"]["epochs"] == 3
    assert first["config"]["learning_rate"] > 0  # a default of the trainer: kept too
    metrics = first["metrics"]
    assert metrics["iou_per_class"] == METRICS["iou_per_class"]
    assert (metrics["miou_per_level"], metrics["num_samples"]) == ([0.8, 0.5], 3)
    assert metrics["confusion"] == METRICS["confusion"]["matrix"]
    # The second run started from the first's weights.
    assert desk.launcher.jobs[1].init_weights == b"weights of " + first["run_id"].encode()
    assert desk.ports.blobs.exists(content_hash(b"weights of " + first["run_id"].encode()))


def test_the_model_is_in_the_repository_before_it_is_registered(desk):
    model = desk.trained()
    folder = desk.ports.settings.models_dir / model["model_name"]
    assert (folder / "1" / "model.pt").read_bytes() == b"model of " + model["run_id"].encode()
    assert (folder / "config.pbtxt").read_text() == "name"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt"]


def test_runs_are_trained_one_at_a_time_in_the_order_in_which_they_were_asked_for(desk):
    runs = [desk.create_run()["run_id"] for _ in range(3)]
    for _ in runs:
        desk.turn(2)
        desk.launcher.finish()
        desk.turn()
    assert [job.run_id for job in desk.launcher.jobs] == runs
    listed = desk.call("GET", "models").json()["items"]
    assert [(model["version"], model["run_id"]) for model in listed] == list(
        zip((3, 2, 1), runs[::-1], strict=True)
    )


def test_a_branch_that_moves_while_a_run_waits_does_not_move_the_run(desk):
    desk.create_run()
    waiting = desk.create_run()
    desk.turn()
    desk.storage.commits["main"] = "c" * 64
    desk.launcher.finish()
    desk.turn(2)
    assert desk.run(waiting["run_id"])["commit_id"] == "a" * 64


def test_the_log_is_what_the_trainer_printed(desk):
    run = desk.create_run()
    assert desk.call("GET", f"runs/{run['run_id']}/log").text == ""
    desk.turn()
    desk.launcher.epoch(1)
    assert '"epoch": 1' in desk.call("GET", f"runs/{run['run_id']}/log").text


def test_listings_page_newest_first(desk):
    runs = [desk.create_run()["run_id"] for _ in range(5)]
    first = desk.call("GET", "runs?limit=2&project_id=prj_test0001").json()
    second = desk.call("GET", f"runs?limit=2&cursor={first['next_cursor']}").json()
    third = desk.call("GET", f"runs?limit=2&cursor={second['next_cursor']}").json()
    listed = [run["run_id"] for page in (first, second, third) for run in page["items"]]
    assert listed == runs[::-1]
    assert third["next_cursor"] is None
