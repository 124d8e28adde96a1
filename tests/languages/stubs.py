"""Stubs of the released contract: generated from its archive and compiled. `stubs.py [LANGUAGE …]`."""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.installed import GO_FLAGS
from support.tree import ROOT

JARS = Path("/usr/share/java")
NODE_PACKAGES = ROOT / "clients" / "typescript" / "node_modules"


class StubsError(Exception):
    """A generator or compiler failed. The text is what it wrote."""


@dataclass(frozen=True)
class Contract:
    """The released contract, unpacked."""

    folder: Path

    @property
    def files(self):
        """The names of its files, with those of other projects."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.proto"))

    def protoc(self, *options):
        """Generate by the protoc of the system, which has the generators of many languages."""
        run("protoc", "-I", self.folder, *options, *self.files)

    def protoc_of_python(self, *options, files):
        """Generate by the protoc of grpcio-tools, which needs a plugin for each other language."""
        run(sys.executable, "-m", "grpc_tools.protoc", "-I", self.folder, *options, *files)


@dataclass(frozen=True)
class Language:
    """A language: what compiles its stubs."""

    needs: tuple[str | Path, ...]
    """Programs on the path, and files."""
    packages: str
    """The Debian packages that have them."""
    compile: Callable[[Contract, Path], None]
    """Generates and compiles in an empty folder."""
    is_quick: bool = False
    """Whether it costs less than 5 seconds of processor time."""

    @property
    def problem(self):
        """Why it cannot be compiled here. None: it can."""
        missing = [str(each) for each in self.needs if not (Path(each).exists() or shutil.which(each))]
        return f"missing {', '.join(missing)}: apt install {self.packages}" if missing else None


def run(*command, folder=None):
    """Run a program. Raise StubsError if it fails."""
    ended = subprocess.run(
        [str(part) for part in command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    if ended.returncode != 0:
        raise StubsError(f"{command[0]} failed:\n{ended.stdout[-8000:]}")


def plugin(name):
    """Return the option of protoc for a plugin of gRPC in the system."""
    return f"--plugin=protoc-gen-grpc={shutil.which(name)}"


def compile_cpp(contract, folder):
    """Compile each file by itself."""
    contract.protoc(f"--cpp_out={folder}", f"--grpc_out={folder}", plugin("grpc_cpp_plugin"))
    for source in sorted(folder.rglob("*.cc")):
        run("g++", "-std=c++17", "-O0", "-I", folder, "-c", source, "-o", source.with_suffix(".o"))


def compile_csharp(contract, folder):
    """Parse the messages. Neither the library of protobuf nor the generator of services is in Debian."""
    contract.protoc(f"--csharp_out={folder}", "--csharp_opt=base_namespace=")
    run("mcs", "--parse", *folder.rglob("*.cs"))


def compile_go(contract, folder):
    """Compile a package with the versions of the Go client."""
    tools = ROOT / "clients" / "go" / "internal" / "tools"
    plugins = folder / "plugins"
    plugins.mkdir()
    run("go", "build", "-o", plugins, "tool", folder=tools)
    for name in ("go.mod", "go.sum"):
        shutil.copy(ROOT / "clients" / "go" / name, folder)
    files = [name for name in contract.files if not name.startswith("google/")]
    packages = [f"M{name}=callback.example/callback/{Path(name).parent}" for name in files]
    packages.append("Mgoogle/rpc/status.proto=google.golang.org/genproto/googleapis/rpc/status")
    options = [f"--{kind}_opt={','.join([*packages, 'paths=source_relative'])}" for kind in ("go", "go-grpc")]
    outputs = [f"--plugin={plugins / f'protoc-gen-{kind}'}" for kind in ("go", "go-grpc")]
    outputs += [f"--{kind}_out={folder}" for kind in ("go", "go-grpc")]
    contract.protoc_of_python(*outputs, *options, files=files)
    # With the flags of the tests of the Go client, so that what all depend on is compiled once.
    run("env", f"GOFLAGS={GO_FLAGS}", "go", "build", "-race", "./callback/...", "./buf/...", folder=folder)


def compile_java(contract, folder):
    """Compile all files together."""
    made = folder / "classes"
    contract.protoc(
        f"--java_out={folder}", f"--grpc_out={folder}", f"--plugin=protoc-gen-grpc={shutil.which('grpc_java_plugin')}"
    )
    path = ":".join(str(JARS / f"{name}.jar") for name in JAVA_LIBRARIES)
    run("javac", "-proc:none", "-cp", path, "-d", made, *folder.rglob("*.java"))


JAVA_LIBRARIES = ("protobuf", "grpc-api", "grpc-stub", "grpc-protobuf", "guava", "geronimo-annotation-1.3-spec")


def compile_php(contract, folder):
    """Load each class, and encode and decode a message. The generator refuses extensions, and so the rules."""
    files = [name for name in contract.files if name.startswith(("callback/", "google/"))]
    files.remove("callback/v1/rules.proto")
    without_rules = contract.folder / "without_rules.binpb"
    run(
        "protoc", f"--descriptor_set_in={without_rules}", f"--php_out={folder}", f"--grpc_out={folder}",
        plugin("grpc_php_plugin"), *files,
    )  # fmt: skip
    program = folder / "program.php"
    program.write_text(PHP)
    run("php", program)


PHP = r"""<?php
namespace Grpc { class BaseStub { public function __construct($host, $options, $channel = null) {} } }
namespace {
    spl_autoload_register(function ($name) {
        foreach ([__DIR__, "/usr/share/php"] as $folder) {
            $path = "$folder/" . str_replace("\\", "/", $name) . ".php";
            if (is_file($path)) { require_once $path; return; }
        }
    });
    foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator(__DIR__)) as $file) {
        if (str_ends_with($file, ".php") && (string) $file != __FILE__) require_once $file;
    }
    new \Callback\V1\WorkerServiceClient("x", []);
    $hello = new \Callback\V1\Hello();
    $hello->mergeFromString((new \Callback\V1\Hello(["max_calls" => 3]))->serializeToString());
    exit($hello->getMaxCalls() == 3 ? 0 : 1);
}
"""
"""A program in PHP that loads all stubs. The class of gRPC itself is in no Debian package."""


def compile_ruby(contract, folder):
    """Load each file, which makes its messages and services."""
    contract.protoc(f"--ruby_out={folder}", f"--grpc_out={folder}", plugin("grpc_ruby_plugin"))
    run("ruby", "-I", ".", "-e", RUBY, folder=folder)


RUBY = """
Dir["**/*.rb"].sort.each { |file| require file.delete_suffix(".rb") }
Callback::V1::WorkerService::Stub
Callback::V1::Hello.decode(Callback::V1::Hello.new(max_calls: 3).to_proto).max_calls == 3 or exit 1
"""


def compile_rust(contract, folder):
    """Check a crate that includes the stubs. protox compiles the contract, so that no protoc is needed."""
    (folder / "src").mkdir()
    (folder / "Cargo.toml").write_text(CARGO)
    names = ", ".join(f'"{name}"' for name in contract.files if name.startswith("callback/"))
    (folder / "build.rs").write_text(BUILD_RS.replace("FILES", names).replace("FOLDER", f'"{contract.folder}"'))
    (folder / "src" / "lib.rs").write_text(LIB_RS)
    run("cargo", "check", "--quiet", folder=folder)


CARGO = """\
[package]
name = "stubs"
version = "0.0.0"
edition = "2021"

[dependencies]
prost = "=0.14.6"
prost-types = "=0.14.6"
tonic = "=0.14.9"
tonic-prost = "=0.14.9"

[build-dependencies]
protox = "=0.10.0"
tonic-prost-build = "=0.14.9"
"""
BUILD_RS = """\
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile([FILES], [FOLDER])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
"""
LIB_RS = """\
pub mod buf { pub mod validate { tonic::include_proto!("buf.validate"); } }
pub mod google { pub mod rpc { tonic::include_proto!("google.rpc"); } }
pub mod callback { pub mod v1 { tonic::include_proto!("callback.v1"); } }
pub use callback::v1::worker_service_client::WorkerServiceClient;
"""


def compile_protobuf_es(contract, folder):
    """Compile the stubs of protobuf-es strictly, with the packages of the client for Node."""
    source = folder / "src"
    source.mkdir()
    plug = f"--plugin={NODE_PACKAGES / '.bin' / 'protoc-gen-es'}"
    contract.protoc_of_python(
        plug, f"--es_out={source}", "--es_opt=target=ts,import_extension=js", files=contract.files
    )
    (folder / "node_modules").symlink_to(NODE_PACKAGES)
    compile_typescript(folder)


def compile_ts_proto(contract, folder):
    """Compile the stubs of ts-proto strictly, with services for gRPC in JavaScript."""
    (folder / "package.json").write_text(TS_PROTO)
    run("npm", "install", "--silent", "--ignore-scripts", "--no-package-lock", folder=folder)
    source = folder / "src"
    source.mkdir()
    plug = f"--plugin={folder / 'node_modules' / '.bin' / 'protoc-gen-ts_proto'}"
    options = "--ts_proto_opt=outputServices=grpc-js,esModuleInterop=true,importSuffix=.js"
    contract.protoc_of_python(plug, f"--ts_proto_out={source}", options, files=contract.files)
    compile_typescript(folder)


def load_in_javascript(contract, folder):
    """Load the files with `@grpc/proto-loader`, which reads the contract itself, and its options with it."""
    (folder / "package.json").write_text(PROTO_LOADER)
    run("npm", "install", "--silent", "--ignore-scripts", "--no-package-lock", folder=folder)
    names = [name for name in contract.files if name.startswith("callback/") and name != "callback/v1/rules.proto"]
    run("node", "-e", LOAD, contract.folder, *names, folder=folder)


PROTO_LOADER = '{"private": true, "dependencies": {"@grpc/grpc-js": "^1.14.7", "@grpc/proto-loader": "^0.8.0"}}'
LOAD = """
const [folder, ...names] = process.argv.slice(1);
const files = require("@grpc/proto-loader").loadSync(names, { includeDirs: [folder] });
require("@grpc/grpc-js").loadPackageDefinition(files).callback.v1.WorkerService.service.Work || process.exit(1);
"""


def compile_typescript(folder):
    """Compile the folder `src` strictly."""
    (folder / "tsconfig.json").write_text(TSCONFIG)
    run("node", NODE_PACKAGES / "typescript" / "bin" / "tsc", "-p", folder)


TS_PROTO = """\
{"private": true, "type": "module",
 "dependencies": {"ts-proto": "2.18.0", "@bufbuild/protobuf": "^2.17.0", "@grpc/grpc-js": "^1.14.7",
                  "@types/node": "^20.19.43"}}
"""
TSCONFIG = """\
{"compilerOptions": {"target": "ES2022", "module": "NodeNext", "strict": true, "types": ["node"], "skipLibCheck": true,
                     "rootDir": "src", "outDir": "dist"},
 "include": ["src"]}
"""

LANGUAGES = {
    "C++": Language(
        ("protoc", "grpc_cpp_plugin", "g++", "/usr/include/grpcpp/grpcpp.h"),
        "g++ libgrpc++-dev protobuf-compiler protobuf-compiler-grpc",
        compile_cpp,
    ),
    "C#": Language(("protoc", "mcs"), "mono-mcs protobuf-compiler", compile_csharp, is_quick=True),
    "Go": Language(("go",), "golang", compile_go, is_quick=True),
    "JavaScript (proto-loader)": Language(("node", "npm"), "nodejs npm", load_in_javascript),
    "Java": Language(
        ("protoc", "grpc_java_plugin", "javac", *(JARS / f"{name}.jar" for name in JAVA_LIBRARIES)),
        "default-jdk-headless libgrpc-java libprotobuf-java protobuf-compiler protobuf-compiler-grpc-java-plugin",
        compile_java,
    ),
    "PHP": Language(
        ("protoc", "grpc_php_plugin", "php", "/usr/share/php/Google/Protobuf"),
        "php-cli php-google-protobuf protobuf-compiler protobuf-compiler-grpc",
        compile_php,
        is_quick=True,
    ),
    "Ruby": Language(
        ("protoc", "grpc_ruby_plugin", "ruby", "/usr/share/rubygems-integration"),
        "protobuf-compiler protobuf-compiler-grpc ruby-google-protobuf ruby-grpc",
        compile_ruby,
        is_quick=True,
    ),
    "Rust": Language(("cargo",), "cargo", compile_rust),
    "TypeScript (protobuf-es)": Language(("node", NODE_PACKAGES), "nodejs npm", compile_protobuf_es, is_quick=True),
    "TypeScript (ts-proto)": Language(("node", "npm", NODE_PACKAGES), "nodejs npm", compile_ts_proto),
}
"""The languages, by name."""


def unpack(folder):
    """Make the archive of the contract, and unpack it into a folder."""
    sys.path.insert(0, str(ROOT))  # for the generators
    from generators.descriptors import archive_contract

    archive = archive_contract(folder)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return Contract(folder / archive.name.removesuffix(".tar.gz"))


def main():
    """Compile in each language, and return the exit code: 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=f"of {', '.join(LANGUAGES)}; default: all")
    names = parser.parse_args().languages or [*LANGUAGES]
    if unknown := {*names} - {*LANGUAGES}:
        parser.error(f"no such language: {', '.join(sorted(unknown))}")
    code = 0
    with tempfile.TemporaryDirectory(prefix="callback-stubs-") as made:
        contract = unpack(Path(made))
        for name in names:
            language, began = LANGUAGES[name], time.monotonic()
            if problem := language.problem:
                print(f"{name}: not tried, {problem}")
                continue
            folder = Path(made, name)
            folder.mkdir()
            try:
                language.compile(contract, folder)
                print(f"{name}: compiled in {time.monotonic() - began:.0f} s", flush=True)
            except StubsError as error:
                print(f"{name}: FAILED, {error}", flush=True)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
