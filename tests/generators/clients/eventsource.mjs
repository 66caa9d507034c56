// The package `eventsource` prints each event as a line of JSON.
import { EventSource } from "eventsource";

const { FLOWRUNS_URL, FLOWRUNS_TOKEN, START } = process.env;
setInterval(() => {}, 60_000); // its timer before a reconnect does not keep a program alive
const authorized = (url, options) =>
	fetch(url, { ...options, headers: { ...options.headers, Authorization: `Bearer ${FLOWRUNS_TOKEN}` } });
const source = new EventSource(`${FLOWRUNS_URL}?phase=running&lastEventId=${START}`, { fetch: authorized });
for (const event of ["message", "position", "run", "left", "deleted", "resync", "bye"]) {
	source.addEventListener(event, ({ data, lastEventId }) =>
		console.log(JSON.stringify({ event, id: lastEventId, data: JSON.parse(data) })));
}
