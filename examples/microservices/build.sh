#!/bin/sh
# Compiles the services into build/. Nothing is downloaded.
set -eu
cd "$(dirname "$0")"
mkdir -p build/java

for language in cpp java py go; do
  mkdir -p "build/$language"
  thrift -out "build/$language" --gen "$language" social.thrift
done

# Go's libraries are Debian's, below /usr/share/gocode; ours lie in a GOPATH of their own.
mkdir -p build/gopath/src
ln -sfn "$PWD/build/go/social" build/gopath/src/social
(cd go && GO111MODULE=off GOFLAGS= GOPATH="$PWD/../build/gopath:/usr/share/gocode" go build -o ../build/social-go .)

# All that Thrift made as one source: its headers are read once.
for source in build/cpp/*.cpp; do
  case $source in *skeleton*) ;; *) echo "#include \"$(basename "$source")\"" ;; esac
done > build/cpp/all.cc
g++ -std=c++17 -O1 -Ibuild/cpp -c build/cpp/all.cc -o build/social.o
for program in compose home-timeline; do
  g++ -std=c++17 -O1 -Ibuild/cpp "cpp/$(echo $program | tr - _).cc" build/social.o -o build/$program \
    -lthrift -lhiredis -pthread
done

javac -nowarn -d build/java -cp '/usr/share/java/*' build/java/social/*.java java/*.java
date > build/done
