"""Jobs: steps, stop, one at a time."""

import gc
import threading
import time
import weakref

import pytest

from gradio_app.running import jobs
from gradio_app.running.jobs import Job, Step, shown, stop_session
from styleplugin.errors import Cancelled, UsageError


def finish(steps):
    """Read all steps; returns them, and what the work returned."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return [step for step in seen if step is not None], end.value


def test_a_job_says_where_it_stands_and_returns_what_it_made():
    def work(job):
        job.tell(0.5, "half", show="preview")
        return "done"

    assert finish(Job(work).steps("a")) == ([Step(0.5, "half", "preview")], "done")


def test_steps_come_no_faster_than_they_are_passed_on():
    def work(job):
        for i in range(1000):
            job.tell(i / 1000, "quick")

    steps, _ = finish(Job(work).steps("a"))
    assert len(steps) < 10


def test_errors_of_the_work_reach_the_event():
    def work(job):
        raise UsageError("SP100", "No.")

    with pytest.raises(UsageError, match="No"):
        finish(Job(work).steps("a"))


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_job_held_is_free_once_it_has_ended_before_garbage_is_collected(fails):
    class Picture:
        pass

    def work(job):
        looked_at.wait(20)
        picture = Picture()
        held.append(weakref.ref(picture))
        if fails:
            raise UsageError("SP100", "No.")
        return picture

    held: list[weakref.ref[Picture]] = []
    looked_at = threading.Event()
    gc.disable()
    try:
        try:
            steps = Job(work).steps("a")
            assert next(steps) is None
            looked_at.set()
            finish(steps)
        except UsageError:
            assert fails
        # The worker lets go of a job when it takes the next one, and we of the generator.
        del steps
        jobs._worker.submit(int).result()
        assert [one() for one in held] == [None]
    finally:
        gc.enable()


def test_nobody_waits_for_a_job_whose_result_was_taken_or_that_never_began(monkeypatch):
    monkeypatch.setattr(jobs, "wait", lambda futures, seconds: pytest.fail("it has ended"))
    job = Job(lambda job: "done")
    assert finish(job.steps("a"))[1] == "done"
    job.stop()
    job.wait(60)
    release = threading.Event()
    running = jobs._worker.submit(release.wait, 60)
    try:
        second = Job(lambda job: pytest.fail("it was stopped"))
        next(second.steps("a"))
        second.stop()
        second.wait(60)
    finally:
        release.set()
        running.result()


def test_a_stopped_session_ends_its_own_jobs_soon():
    ended = threading.Event()

    def other(job):
        return "other"

    steps = Job(endless(ended)).steps("mine")
    while next(steps) is None:
        pass
    stop_session("somebody else's")
    assert not ended.is_set()
    stop_session("mine")
    assert ended.is_set()
    with pytest.raises(Cancelled):
        finish(steps)
    assert finish(Job(other).steps("mine"))[1] == "other"
    assert not jobs._running


def test_a_stop_waits_until_the_page_has_the_last_output():
    """However slow it is between the end of the work and there: Stop is followed by taking what still waits away."""
    has_last, taken = threading.Event(), threading.Event()
    begun = threading.Event()
    outputs = []

    def work(job):
        begun.set()
        try:
            while True:
                job.tell(0.5, "working")
                time.sleep(0.01)
        except Cancelled:
            return "what there is"

    def event():
        with shown("mine"):
            steps = Job(work).steps("mine")
            yield (yield from steps)

    def page():
        for output in event():
            outputs.append(output)
            if output == "what there is":
                has_last.set()
                taken.wait(30)

    threads = [threading.Thread(target=page), threading.Thread(target=stop_session, args=("mine",))]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    assert has_last.wait(30)
    assert threads[1].is_alive()
    taken.set()
    for thread in threads:
        thread.join(30)
    assert outputs[-1] == "what there is" and not any(thread.is_alive() for thread in threads)


def test_jobs_run_one_at_a_time_and_one_that_waits_can_be_stopped():
    release, both = threading.Event(), []

    def first(job):
        both.append("first")
        release.wait(10)

    def second(job):
        both.append("second")

    running, waiting = Job(first).steps("a"), Job(second).steps("b")
    next(running), next(waiting)
    assert both == ["first"]
    stop_session("b")
    with pytest.raises(Cancelled):
        finish(waiting)
    release.set()
    finish(running)
    assert both == ["first"]


def endless(ended: threading.Event):
    """Work that goes on until it is told to end, and says that it has."""

    def work(job):
        try:
            while True:
                job.tell(0, "working")
                time.sleep(0.01)
        finally:
            ended.set()

    return work


def test_closing_the_event_ends_the_work():
    ended = threading.Event()
    steps = Job(endless(ended)).steps("a")
    next(steps)
    steps.close()
    assert ended.wait(2)


def test_G08_work_that_nobody_looks_at_any_more_ends(monkeypatch):
    monkeypatch.setattr(jobs, "ABANDONED_SECONDS", 0.6)
    ended = threading.Event()
    steps = Job(endless(ended)).steps("a")
    next(steps)
    assert ended.wait(5)
    steps.close()
