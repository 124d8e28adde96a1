"""Between the contract's messages and the domain's values: conversion both ways, and the rules of single fields."""
