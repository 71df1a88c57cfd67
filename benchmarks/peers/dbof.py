"""The trainer of tf-models-official on its DBoF, run by its own Python: for every line read, that many steps.

    python dbof.py PRECISION BATCH.npz

It answers each line, and first of all says how many weights it trains, by a line of JSON. The batch holds what the
project's loader would give: video_matrix float32 [B,T,F], labels float32 [B,V], num_frames int32 [B]. The experiment is
`yt8m_experiment` as registered, but for its precision: float32 or bfloat16.
"""

import json
import os
import resource
import sys
import types


def main(precision: str, path: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    trainer = _trainer(precision, path)
    import tensorflow as tf

    weights = sum(int(tf.size(weight)) for weight in trainer.model.trainable_variables)
    print(json.dumps({"parameters": weights}), file=answers, flush=True)
    for line in sys.stdin:
        loss = float(trainer.train(tf.constant(int(line)))["training_loss"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"loss": loss, "peak": peak}), file=answers, flush=True)


def _trainer(precision: str, path: str):
    # The wheel lacks these two, and a training step needs neither.
    for package, module in (("dataloaders", "yt8m_input"), ("eval_utils", "eval_util")):
        name = f"official.projects.yt8m.{package}"
        sys.modules[name] = types.ModuleType(name)
        sys.modules[f"{name}.{module}"] = types.ModuleType(module)
        setattr(sys.modules[name], module, sys.modules[f"{name}.{module}"])
    import numpy as np
    import tensorflow as tf
    from official.core import base_trainer, exp_factory, task_factory
    from official.modeling import performance
    from official.projects.yt8m.tasks import yt8m_task  # noqa: F401  (registers the experiment and its task)

    experiment = exp_factory.get_exp_config("yt8m_experiment")
    experiment.runtime.mixed_precision_dtype = precision
    performance.set_mixed_precision_policy(precision)
    task = task_factory.get_task(experiment.task)
    batch = dict(np.load(path))
    return base_trainer.Trainer(
        experiment,
        task,
        task.build_model(),
        task.create_optimizer(experiment.trainer.optimizer_config, experiment.runtime),
        evaluate=False,
        train_dataset=tf.data.Dataset.from_tensors(batch).repeat(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
