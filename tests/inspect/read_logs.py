"""Prints what Inspect reads in a folder of logs, as JSON: run by a Python that has inspect-ai."""

import json
import sys

from inspect_ai.log import list_eval_logs, read_eval_log

found = []
for info in list_eval_logs(sys.argv[1], descending=False):
    log, header = read_eval_log(info), read_eval_log(info, header_only=True)
    found.append(
        {
            "task": log.eval.task,
            "model": log.eval.model,
            "status": log.status,
            "total": header.results.total_samples,
            "figures": {name: one.value for name, one in log.results.scores[0].metrics.items()},
            "samples": [
                {
                    "id": sample.id,
                    "epoch": sample.epoch,
                    "input": sample.input,
                    "target": sample.target,
                    "answer": sample.output.completion,
                    "stop": sample.output.stop_reason,
                    "tokens": sample.output.usage.output_tokens,
                    "scores": {name: score.value for name, score in sample.scores.items()},
                    "explanations": [score.explanation for score in sample.scores.values()],
                    "error": sample.error and sample.error.message,
                    "images": sample.metadata["images"],
                }
                for sample in log.samples
            ],
        }
    )
print(json.dumps(found))
