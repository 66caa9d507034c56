// Long work in slices, between which the page takes input.

const SLICE = 20; // ms

/** The result of *work*, a generator that yields where it may pause; undefined as soon as *isStale()*. */
export async function inSlices(work, isStale) {
	for (;;) {
		const end = performance.now() + SLICE;
		let step;
		do step = work.next(); while (!step.done && performance.now() < end);
		if (step.done) return step.value;
		await pause();
		if (isStale()) return undefined;
	}
}

/** Until other tasks, like input and painting, had their turn. No timer: those of hidden tabs are slow. */
export function pause() {
	const { port1, port2 } = new MessageChannel();
	return new Promise((resolve) => {
		port1.onmessage = () => (port1.close(), resolve());
		port2.postMessage(null);
	});
}
