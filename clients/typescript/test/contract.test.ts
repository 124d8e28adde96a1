/** The contract and the values of this library: each field has a place, and debug output conceals each secret. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import {
  createFileRegistry,
  type DescExtension,
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  getOption,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as converters from "../src/contract/converters.js";
import { assertConcealed, SECRET } from "./support.js";

const compiled = join("..", "..", "server", "callback_server", "rpc", "contract.binpb");
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(compiled)));

/** Messages that are names and values, which `Headers` and `Query` hold. */
const PAIRS = ["Header", "QueryParameter", "ResponseHeader", "ResponseHeaders"];

/** The message of a result of a batch, which is a value or an error. */
const RESULT = "GenerateCallbackUrlResult";

/** Fields without a place: the value of one follows from another one, and one is for the client alone. */
const WITHOUT_PLACE = ["HandleCallbackRequest.verified", "HandleCallbackRequest.report_error"];

function optionOf(described: DescMessage | DescField, name: string): unknown {
  return getOption(described, registry.getExtension(`callback.v1.${name}`) as DescExtension);
}

type Converter = (given: unknown) => object;

/** Return the converter of a message, from it or to it. */
function converterOf(message: DescMessage, direction: "From" | "To"): Converter | undefined {
  const name = String(optionOf(message, "value_name") || message.name);
  const all: Record<string, unknown> = converters;
  return all[`${name[0]?.toLowerCase()}${name.slice(1)}${direction}`] as Converter | undefined;
}

function convert(message: DescMessage, json: JsonObject): object {
  return (converterOf(message, "From") as Converter)(fromJson(message, json));
}

/** Return the messages that become values: those of requests to handlers, and those in the responses to clients. */
function valuesOf(): DescMessage[] {
  const found = new Set<DescMessage>();
  const visit = (message: DescMessage, isResponse = false): void => {
    if (found.has(message) || PAIRS.includes(message.name) || message.typeName.startsWith("google.")) {
      return;
    }
    if (converterOf(message, "From") !== undefined) {
      found.add(message);
    } else {
      assert(isResponse || message.name === RESULT, `${message.name} has no converter`);
    }
    for (const { message: inner } of message.fields) {
      if (inner !== undefined) {
        visit(inner);
      }
    }
  };
  visit(registry.getMessage("callback.v1.HandleCallbackRequest") as DescMessage);
  for (const service of ["CallbacksService", "OperationsService", "AuditService", "ProfilesService"]) {
    for (const { output } of registry.getService(`callback.v1.${service}`)?.methods ?? []) {
      visit(output, true);
    }
  }
  return [...found];
}

/** Return a message in which each field is set, as JSON. */
function allFieldsOf(message: DescMessage): JsonObject {
  return Object.fromEntries(message.fields.map((field) => [field.jsonName, sampleOf(field)]));
}

/** Return a value of a field, as JSON. Each text in it is the secret. */
function sampleOf(field: DescField): JsonValue {
  const sample = singleOf(field);
  if (field.fieldKind === "map") {
    return { [SECRET]: sample };
  }
  return field.fieldKind === "list" ? [sample] : sample;
}

function singleOf({ message, enum: words, scalar }: DescField): JsonValue {
  if (message !== undefined) {
    const known: Record<string, JsonValue> = { Timestamp: "2030-01-01T00:00:00Z", Duration: "7s" };
    return known[message.name] ?? allFieldsOf(message);
  }
  if (words !== undefined) {
    return words.values.at(-1)?.name ?? "";
  }
  const samples: Partial<Record<ScalarType, JsonValue>> = {
    [ScalarType.BOOL]: true,
    [ScalarType.BYTES]: Buffer.from(SECRET).toString("base64"),
    [ScalarType.STRING]: SECRET,
  };
  return samples[scalar as ScalarType] ?? 7;
}

/** Return all that a value has, also what debug output conceals. */
function contentOf(value: object): string {
  return inspect(value, { getters: true, customInspect: false, depth: null, showHidden: true });
}

const VALUES = valuesOf();

describe("the contract", () => {
  test("has values", () => assert(VALUES.length > 20));

  for (const message of VALUES) {
    const send = converterOf(message, "To");
    if (send !== undefined) {
      test(`${message.name} is sent with each field`, () => {
        const sent = send(convert(message, allFieldsOf(message)));
        assert.deepEqual(
          toJson(message, sent as MessageShape<typeof message>),
          toJson(message, fromJson(message, allFieldsOf(message))),
        );
      });
    }

    for (const field of message.fields.filter(({ name }) => !WITHOUT_PLACE.includes(`${message.name}.${name}`))) {
      const only = (): object => convert(message, { [field.jsonName]: sampleOf(field) });

      test(`${message.name}.${field.name} has a place`, () => {
        assert.notEqual(contentOf(only()), contentOf(convert(message, {})));
      });

      if (optionOf(field, "secret")) {
        test(`${message.name}.${field.name} is concealed`, () => {
          const value = only();
          assertConcealed(value);
          assert.match(inspect(value), /\*\*\*/);
        });
      }
    }
  }
});
