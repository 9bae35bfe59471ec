"""Parts of a GPU: several runs of one worker share one, and no more than fit it."""

from pathlib import Path

import pytest

from tests.cluster.test_nodes import story


@pytest.mark.slow
def test_four_quarter_gpu_runs_share_a_gpu_and_a_fifth_waits(tmp_path: Path):
    """On a node that claims one GPU; every trial holds on until four are there, or for eight seconds."""
    told = story(
        tmp_path,
        """
        from dataclasses import replace
        import ray
        from ray import tune
        from raykd.launch.trials.tuner import resources
        from raykd.recipes.digits.supervised import recipe

        cluster = begin(0)
        cluster.add_node(num_cpus=8, num_gpus=1, object_store_memory=80_000_000)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        here = folder / "running"
        here.mkdir()

        def trial(config):
            mine = here / str(config["number"])
            mine.touch()
            seen = 0
            for _ in range(80):
                seen = max(seen, len(list(here.iterdir())))
                if seen >= 4:
                    time.sleep(2)  # a fifth would come now
                    seen = max(seen, len(list(here.iterdir())))
                    break
                time.sleep(0.1)
            mine.unlink()
            tune.report({"seen": seen, "device": os.environ["CUDA_VISIBLE_DEVICES"]})

        quarter = replace(recipe, workers=1, gpus_per_worker=0.25)
        results = tune.Tuner(
            tune.with_resources(trial, resources(quarter)),
            param_space={"number": tune.grid_search(list(range(5)))},
            run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
        ).fit()
        trials = [{name: result.metrics[name] for name in ("seen", "device")} for result in results]
        print(json.dumps({"trials": trials}))
        """,
    )
    assert [trial["device"] for trial in told["trials"]] == ["0"] * 5
    assert max(trial["seen"] for trial in told["trials"]) == 4
