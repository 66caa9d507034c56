"""The service one would write with FastAPI, SQLAlchemy and fastapi-pagination, for comparison alone.

Its packages (fastapi, sqlalchemy, greenlet, aiosqlite, fastapi-pagination, sqlakeyset) are installed by hand, perhaps
in an environment of their own; flowruns never imports them. The database is the file PEER_DATABASE;
`python -m tests.benchmarks.peer FIRST LAST` puts the runs from number FIRST to before LAST into it.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi_pagination import add_pagination
from fastapi_pagination.cursor import CursorPage
from fastapi_pagination.customization import CustomizedPage, UseIncludeTotal
from fastapi_pagination.ext.sqlalchemy import apaginate
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import JSON, Index, event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.benchmarks.runs import RUNS, body_of, id_of

Slug = Annotated[str, Field(pattern=r"^([a-z0-9_.-]+)$")]


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[dict[str, Any]]: JSON}


class Row(Base):
    __tablename__ = "run"
    __table_args__ = (Index("run_by_flow", "flow_id", "seq"), Index("run_by_phase", "phase", "seq"))

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    flow_id: Mapped[str]
    flow_type: Mapped[str]
    args: Mapped[dict[str, Any] | None]
    phase: Mapped[str | None]
    start_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]
    actions: Mapped[list[dict[str, Any]] | None]
    outputs: Mapped[dict[str, Any] | None]
    logs: Mapped[list[dict[str, Any]] | None]
    tags: Mapped[list[dict[str, Any]] | None]
    created_at: Mapped[datetime]
    created_by: Mapped[int | None]
    updated_at: Mapped[datetime]
    updated_by: Mapped[int | None]
    reviewed_by: Mapped[int | None]
    reviewed_at: Mapped[datetime | None]


class Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class FlowType(StrEnum):
    AUTOMATION = "automation"
    SELF_SERVICE_ACTION = "selfServiceAction"
    SCORECARD = "scorecard"
    REFERENCE = "reference"


class Action(Model):
    id: str
    phase: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None


class Log(Model):
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    message: str
    level: str = "info"
    action: str | None = None


class Tag(Model):
    key: str
    value: str


class RunPost(Model):
    id: Slug | None = None
    flow_id: Slug
    flow_type: FlowType = FlowType.SELF_SERVICE_ACTION
    args: dict[str, Any] | None = None
    tags: list[Tag] | None = None


class RunPut(RunPost):
    phase: str | None = "pending"
    start_time: datetime | None = None
    end_time: datetime | None = None
    actions: list[Action] | None = None
    outputs: dict[str, Any] | None = None
    logs: list[Log] | None = None


class FlowRun(RunPut):
    created_at: datetime
    created_by: int | None
    updated_at: datetime
    updated_by: int | None
    reviewed_by: int | None
    reviewed_at: datetime | None


engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ.get('PEER_DATABASE', 'peer.db')}")
sessions = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def _pragmas(connection: Any, _: Any) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(session)]
app = FastAPI(lifespan=lifespan)


@app.get(RUNS)
async def page(
    session: Session,
    flow_id: Annotated[list[str] | None, Query(alias="flowId")] = None,
    flow_type: Annotated[list[FlowType] | None, Query(alias="flowType")] = None,
    phase: Annotated[list[str] | None, Query()] = None,
) -> CustomizedPage[CursorPage[FlowRun], UseIncludeTotal(True)]:  # type: ignore[valid-type]  # made by a call
    query = select(Row).order_by(Row.seq.desc())
    for column, values in ((Row.flow_id, flow_id), (Row.flow_type, flow_type), (Row.phase, phase)):
        if values:
            query = query.where(column.in_(values))
    return await apaginate(session, query)


@app.post(RUNS, status_code=201)
async def create(body: RunPost, session: Session) -> FlowRun:
    id = body.id or str(uuid4())
    if await found(session, id):
        raise HTTPException(409)
    return await written(session, new(id, RunPut(**body.model_dump())))


@app.get(RUNS + "/{id_}")
async def get(id_: str, session: Session) -> FlowRun:
    if row := await found(session, id_):
        return FlowRun.model_validate(row)
    raise HTTPException(404)


@app.put(RUNS + "/{id_}")
async def put(id_: Slug, body: RunPut, session: Session, response: Response) -> FlowRun:
    row = await found(session, id_)
    if row is None:
        response.status_code = 201
        return await written(session, new(id_, body))
    for name, value in columns(body).items():
        setattr(row, name, value)
    row.updated_at = datetime.now(UTC)
    return await written(session, row)


@app.delete(RUNS + "/{id_}", status_code=204)
async def delete(id_: Slug, session: Session) -> None:
    row = await found(session, id_)
    if row is None:
        raise HTTPException(404)
    await session.delete(row)
    await session.commit()


async def found(session: AsyncSession, id: str) -> Row | None:
    return (await session.execute(select(Row).where(Row.id == id))).scalar_one_or_none()


async def written(session: AsyncSession, row: Row) -> FlowRun:
    session.add(row)
    await session.commit()
    return FlowRun.model_validate(row)


def columns(body: RunPut) -> dict[str, Any]:
    lists = {"actions", "logs", "tags"}
    as_json = body.model_dump(mode="json", by_alias=True, include=lists)
    return body.model_dump(exclude={"id", *lists}) | as_json


def new(id: str, body: RunPut) -> Row:
    now = datetime.now(UTC)
    return Row(id=id, created_at=now, updated_at=now, **columns(body))


async def fill(first: int, last: int) -> None:
    async with lifespan(app), sessions() as session:
        for number in range(first, last):
            session.add(new(id_of(number), RunPut.model_validate(body_of(number))))
        await session.commit()


add_pagination(app)

if __name__ == "__main__":
    asyncio.run(fill(int(sys.argv[1]), int(sys.argv[2])))
