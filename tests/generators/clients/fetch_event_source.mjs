// @microsoft/fetch-event-source prints each event as a line of JSON. It gives every block to its handler.
import { fetchEventSource } from "@microsoft/fetch-event-source";

const document = { hidden: false, addEventListener() {}, removeEventListener() {} }; // of the browser it is made for
Object.assign(globalThis, { window: globalThis, document });
const { FLOWRUNS_URL, FLOWRUNS_TOKEN, START } = process.env;
await fetchEventSource(`${FLOWRUNS_URL}?phase=running`, {
	headers: { Authorization: `Bearer ${FLOWRUNS_TOKEN}`, "Last-Event-ID": START },
	onmessage({ event, id, data }) {
		console.log(JSON.stringify({ event, id, data: JSON.parse(data) }));
	},
	onclose() {
		throw new Error("the stream ended"); // as its README says, so that it connects again
	},
});
