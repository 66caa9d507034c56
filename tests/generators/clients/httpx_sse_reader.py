"""httpx-sse, with the default timeout of httpx, prints each event as a line of JSON. It connects again by hand."""

import json
import os
import time

import httpx
from httpx_sse import connect_sse

url, number = f"{os.environ['FLOWRUNS_URL']}?phase=running", os.environ["START"]
with httpx.Client(headers={"Authorization": f"Bearer {os.environ['FLOWRUNS_TOKEN']}"}) as client:
    while True:
        try:
            with connect_sse(client, "GET", url, headers={"Last-Event-ID": number}) as source:
                for event in source.iter_sse():
                    number = event.id
                    print(json.dumps({"event": event.event, "id": event.id, "data": event.json()}), flush=True)
        except httpx.ReadTimeout:
            raise
        except httpx.TransportError:
            time.sleep(0.1)  # the server is gone for a moment
